// A client of terminals for tests: it keeps every frame in order, and can show what a terminal emulator would.

import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import xterm from '@xterm/headless'
import { onTestFinished } from 'vitest'
import { type ClientOptions, WebSocket } from 'ws'
import type { PtyServerFrame, PtyStatus } from '../../../lib/api/execd-pty.ts'
import { until } from '../daemon.ts'

/** What a client needs of a server; a daemon has it. */
export type PtyServer = {
  url: string
  /** Those that carry the token; a daemon of the tests has always the same. */
  headers?: Record<string, string>
  call(path: string, init?: RequestInit): Promise<Response>
}

export type Frame =
  | { kind: 'output'; stream: 'stdout' | 'stderr'; bytes: Buffer }
  | { kind: 'replay'; offset: number; bytes: Buffer }
  | { kind: 'text'; value: PtyServerFrame }

export async function createPty(server: PtyServer, body: Record<string, unknown> = {}): Promise<string> {
  const response = await server.call('/pty', { method: 'POST', body: JSON.stringify(body) })
  const answer = (await response.json()) as { session_id: string }
  if (response.status !== 201) throw new Error(`Cannot create a session: ${JSON.stringify(answer)}`)
  return answer.session_id
}

export async function statusOf(server: PtyServer, id: string): Promise<PtyStatus> {
  return (await server.call(`/pty/${id}`)).json() as Promise<PtyStatus>
}

/** A WebSocket to a session, refused or not. */
export function openSocket(
  server: PtyServer,
  id: string,
  query = '',
  { headers, ...options }: ClientOptions = {},
): WebSocket {
  return new WebSocket(`${server.url.replace('http', 'ws')}/pty/${id}/ws${query}`, {
    headers: { ...(server.headers ?? { 'X-EXECD-ACCESS-TOKEN': 'secret-token' }), ...headers },
    perMessageDeflate: false,
    ...options,
  })
}

/** Why a connection is refused: the answer that comes in place of the upgrade. */
export async function refusal(
  server: PtyServer,
  id: string,
  query = '',
  options: ClientOptions = {},
): Promise<{ status: number; body: { code?: string; message?: string } }> {
  const ws = openSocket(server, id, query, options)
  const [, response] = (await once(ws, 'unexpected-response')) as [unknown, IncomingMessage]
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk as Buffer)
  return { status: response.statusCode ?? 0, body: JSON.parse(Buffer.concat(chunks).toString()) }
}

export class PtyClient {
  readonly frames: Frame[] = []
  readonly ws: WebSocket
  readonly closed: Promise<{ code: number; reason: string }>
  readonly #screen: InstanceType<typeof xterm.Terminal>

  constructor(ws: WebSocket, { cols = 80, rows = 24 } = {}) {
    this.ws = ws
    this.#screen = new xterm.Terminal({ cols, rows, allowProposedApi: true, scrollback: 1000 })
    // What an emulator answers to questions of programs is typed; those in a replay were answered when they were asked.
    let replaying = 0
    this.#screen.onData((data) => {
      if (replaying === 0) this.type(data)
    })
    ws.on('message', (data: Buffer, isBinary: boolean) => {
      const frame = parseFrame(data, isBinary)
      this.frames.push(frame)
      if (frame.kind === 'output') this.#screen.write(frame.bytes)
      if (frame.kind === 'replay') {
        replaying++
        this.#screen.write(frame.bytes, () => replaying--)
      }
    })
    ws.on('error', () => {})
    this.closed = new Promise((resolve) =>
      ws.once('close', (code, reason) => resolve({ code, reason: reason.toString() })),
    )
  }

  /** Connects and waits until the server says so. */
  static async connect(
    server: PtyServer,
    id: string,
    query = '',
    size: { cols?: number; rows?: number } = {},
  ): Promise<PtyClient> {
    const client = new PtyClient(openSocket(server, id, query), size)
    onTestFinished(() => client.ws.terminate())
    await client.text('connected')
    return client
  }

  /** All output so far, replayed or not. */
  get output(): string {
    return this.bytes().toString('utf8')
  }

  bytes(kind?: Frame['kind'], stream?: 'stdout' | 'stderr'): Buffer {
    return Buffer.concat(
      this.frames.map((frame) => {
        if (frame.kind === 'text' || (kind && frame.kind !== kind)) return Buffer.alloc(0)
        return frame.kind === 'output' && stream && frame.stream !== stream ? Buffer.alloc(0) : frame.bytes
      }),
    )
  }

  type(text: string | Buffer): void {
    if (this.ws.readyState === WebSocket.OPEN)
      this.ws.send(Buffer.concat([Buffer.from([0]), Buffer.from(text)]), { binary: true })
  }

  send(frame: unknown): void {
    this.ws.send(JSON.stringify(frame))
  }

  resize(cols: number, rows: number): void {
    this.#screen.resize(cols, rows)
    this.send({ type: 'resize', cols, rows })
  }

  /** Waits for the first text frame of a type. */
  text<T extends PtyServerFrame['type']>(type: T): Promise<Extract<PtyServerFrame, { type: T }>> {
    return this.next(type, 0)
  }

  /** Waits for the first text frame of a type from the frame `index` on. */
  next<T extends PtyServerFrame['type']>(
    type: T,
    index: number,
  ): Promise<Extract<PtyServerFrame, { type: T }>> {
    return until(async () => {
      for (const frame of this.frames.slice(index))
        if (frame.kind === 'text' && frame.value.type === type)
          return frame.value as Extract<PtyServerFrame, { type: T }>
      return undefined
    }, `a frame of type "${type}"`)
  }

  /** Waits for output that matches. */
  async see(pattern: RegExp): Promise<RegExpExecArray> {
    try {
      return await until(async () => pattern.exec(this.output) ?? undefined, `output like ${pattern}`)
    } catch (error) {
      throw new Error(`There is only ${JSON.stringify(this.output.slice(-500))}`, { cause: error })
    }
  }

  /** Waits until the screen shows it; blanks at the ends of lines are not there. */
  async shows(pattern: RegExp): Promise<string> {
    try {
      return await until(async () => {
        const text = await this.screen()
        return pattern.test(text) ? text : undefined
      }, `a screen with ${pattern}`)
    } catch (error) {
      throw new Error(`The screen shows:\n${(await this.screen()).trimEnd()}`, { cause: error })
    }
  }

  /** What an emulator shows, line by line. */
  async screen(): Promise<string> {
    await new Promise<void>((resolve) => this.#screen.write('', resolve))
    const { active } = this.#screen.buffer
    return Array.from(
      { length: this.#screen.rows },
      (_, row) =>
        active
          .getLine(active.baseY + row)
          ?.translateToString()
          .trimEnd() ?? '',
    ).join('\n')
  }

  /** Runs a line in the shell and gives what it wrote between two marks that its echo does not have. */
  async run(line: string): Promise<string> {
    const mark = `m${Math.random().toString(36).slice(2)}`
    const at = this.output.length
    this.type(`printf '%s\\n' ${mark}'<'; ${line}\nprintf '%s\\n' '>'${mark}\n`)
    const pattern = new RegExp(`${mark}<\\r?\\n([\\s\\S]*)>${mark}\\r?\\n`)
    const found = await until(
      async () => pattern.exec(this.output.slice(at)) ?? undefined,
      `the end of "${line}"`,
    )
    return found[1] ?? ''
  }
}

export function parseFrame(data: Buffer, isBinary: boolean): Frame {
  if (!isBinary) {
    const text = data.toString()
    if (!text.endsWith('\n')) throw new Error(`A text frame must end with a newline: ${text}`)
    return { kind: 'text', value: JSON.parse(text) as PtyServerFrame }
  }
  if (data[0] === 3)
    return { kind: 'replay', offset: Number(data.readBigInt64BE(1)), bytes: data.subarray(9) }
  if (data[0] !== 1 && data[0] !== 2) throw new Error(`Unknown channel ${data[0]}`)
  return { kind: 'output', stream: data[0] === 1 ? 'stdout' : 'stderr', bytes: data.subarray(1) }
}
