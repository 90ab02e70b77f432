// One connection of a sandbox to an address that a name led to, held until its client has named a server (TLS by SNI, HTTP by Host). It goes
// on only when the policy allows the name and the address is one that was answered for it. What names no server is closed: only a rule
// for the address opens it to other protocols.

import { connect, type Socket } from 'node:net'
import type { ChunkMemory, ReadMemory } from '../../lib/read-memory.ts'
import type { Interception } from '../interception/interception.ts'
import type { DecisionRecord } from '../record.ts'
import type { RefusalLog } from '../refusal-log.ts'
import type { Sandboxes } from '../sandboxes.ts'
import type { StallWatch } from '../stall-watch.ts'
import type { VaultServer } from '../vault/port.ts'
import { writePiece } from '../write-piece.ts'
import type { Accepted } from './accepted.ts'
import { looksLikeTls } from './client-hello.ts'
import { decideServer } from './decide-server.ts'
import { addName, type Flow, type Flows } from './flows.ts'
import { HttpRequests, looksLikeHttp } from './http-requests.ts'
import type { CheckName, Judge, Judged } from './judge.ts'
import { Outcome } from './outcome.ts'
import { TlsOpening } from './tls-opening.ts'

export type RelayedOptions = {
  sandboxes: () => Pick<Sandboxes, 'get' | 'decide'>
  flows: Flows
  record: Pick<DecisionRecord, 'add'>
  /** Whether a client may hide a name behind the one that is checked. */
  allowEch?: boolean
  /** Reads connections to servers that a secret is for, instead of their being passed on. */
  interception?: Pick<Interception, 'isFor' | 'take'>
  /** Finds out who takes nothing of what waits for it. */
  stalls: StallWatch
  openingMs?: number
  connectMs?: number
}

/** What connections have in common. */
export type Shared = { refusals: RefusalLog; memory: ReadMemory }

/** How long a client may take to name a server. */
const OPENING_MS = 10_000
const CONNECT_MS = 15_000
/** How long one direction may be silent once the other has ended. */
const HALF_CLOSED_MS = 5 * 60_000
const KEEP_ALIVE_MS = 60_000
const SOCKET = { allowHalfOpen: true, noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS }
const STATUS_LINE = /^HTTP\/1\.[01] (\d{3})/
const STATUS_BYTES = 12

export class RelayedConnection {
  readonly #options: RelayedOptions
  readonly #memory: ReadMemory
  readonly #client: Socket
  readonly #id: string
  readonly #to: Accepted['to']
  readonly #flow: Flow
  readonly #outcome: Outcome
  #upstream: Socket | undefined
  #judge: Judge | undefined
  /** The beginning of an answer whose status decides how to go on. */
  #answer = ''
  /** What has come before it was clear who goes on with it. */
  #opening: Buffer[] = []
  #isRead = false
  #unwatch = () => {}

  constructor(options: RelayedOptions, { refusals, memory }: Shared, { client, sandbox, to }: Accepted) {
    this.#options = options
    this.#memory = memory
    this.#client = client
    this.#id = sandbox.id
    this.#to = to
    const { address, port, name, isOpen = false } = to
    const named = { names: new Set<string>(), aliases: new Set<string>() }
    this.#flow = { address, port, ...named, isByAddress: isOpen, end: () => this.#close() }
    if (name !== undefined) addName(this.#flow, name, sandbox.learned.aliasesOf(name, address))
    const { sandboxes, record } = options
    this.#outcome = new Outcome({ sandboxId: sandbox.id, to, sandboxes, record, refusals })
  }

  begin(first?: Buffer): void {
    const { flows, stalls, openingMs = OPENING_MS } = this.#options
    const client = this.#client
    if (!flows.add(this.#id, this.#flow)) {
      this.#refuse('too many connections at once')
      return
    }
    const opening = setTimeout(() => {
      if (!this.#upstream && !this.#isRead)
        this.#refuse(`it named no server within ${openingMs / 1000} seconds`)
    }, openingMs)
    client.setKeepAlive(true, KEEP_ALIVE_MS)
    this.#unwatch = stalls.watchSocket(client, () => this.#stalled('its client'))
    client.on('data', this.#fromClient)
    client.on('end', this.#clientEnded)
    client.on('drain', this.#clientDrained)
    client.on('close', () => {
      clearTimeout(opening)
      flows.remove(this.#id, this.#flow)
      this.#note()
      if (this.#upstream) this.#closeAfter(client, this.#upstream)
    })
    if (this.#to.isOpen) {
      this.#outcome.decision = { action: 'allow', reason: 'a rule or the default action opens the address' }
      // Its server may be the first to speak.
      this.#upstream = this.#dial()
    }
    // Before what has come is looked at, which may have it wait again.
    client.resume()
    if (first && first.length > 0) this.#fromClient(first)
  }

  readonly #clientEnded = () => {
    if (this.#upstream) this.#endOf(this.#upstream)
    else this.#close()
  }

  readonly #clientDrained = () => void this.#upstream?.resume()

  readonly #fromClient = (chunk: Buffer): void => {
    if (!this.#upstream) this.#opening.push(chunk)
    if (!this.#judge) {
      const judge = this.#judgeOf(chunk[0] ?? 0)
      if (!judge) {
        this.#refuse('it is neither TLS nor HTTP/1, and no rule opens the address to other protocols')
        return
      }
      this.#judge = judge
    }
    this.#forward(this.#judge, this.#judge.push(chunk))
  }

  #forward(judge: Judge, { pass, problem }: Judged): void {
    for (const bytes of pass) {
      if (!this.#upstream && this.#goesToReader(judge)) return
      this.#upstream ??= this.#dial()
      this.#opening = []
      if (!writePiece(this.#upstream, bytes)) this.#client.pause()
    }
    if (problem !== undefined) this.#refuse(problem)
    // Until the server has answered, nobody knows what the client's next bytes are.
    else if (judge instanceof HttpRequests && judge.isSwitching) this.#client.pause()
  }

  /** Hands a connection over to who reads it, with all that has come of it. */
  #goesToReader(judge: Judge): boolean {
    // Of several requests that came at once, the first says what the connection is for.
    const [host] = this.#flow.names
    const server = host === undefined ? undefined : this.#serverToRead(judge, host)
    if (!server) return false
    const client = this.#client
    const protocols = protocolsOf(judge)
    this.#isRead = true
    this.#unwatch()
    client.off('data', this.#fromClient).off('end', this.#clientEnded).off('drain', this.#clientDrained)
    client.pause()
    client.unshift(Buffer.concat(this.#opening))
    this.#opening = []
    this.#options.interception?.take({
      client,
      sandboxId: this.#id,
      server,
      address: this.#to.address,
      ...(protocols && { protocols }),
    })
    return true
  }

  /** The server, when there is a secret for it and it lies where its name leads. */
  #serverToRead(judge: Judge, host: string): VaultServer | undefined {
    const { interception, sandboxes } = this.#options
    const { address, port } = this.#to
    if (!interception || !(judge instanceof TlsOpening || judge instanceof HttpRequests)) return undefined
    // Whoever may have the secret is known by this name and no other.
    if (!sandboxes().get(this.#id)?.learned.leadsSurely(host, address)) return undefined
    const server: VaultServer = { scheme: judge instanceof TlsOpening ? 'https' : 'http', host, port }
    return interception.isFor(this.#id, server, protocolsOf(judge)) ? server : undefined
  }

  #dial(): Socket {
    const { stalls, connectMs = CONNECT_MS } = this.#options
    const { address: host, port } = this.#to
    const reader = this.#memory.readerFor(this.#id, (chunk, memory) =>
      this.#fromUpstream(upstream, chunk, memory),
    )
    const { onread } = reader
    const upstream = connect({ host, port, ...SOCKET, onread })
    stalls.watchSocket(upstream, () => this.#stalled('its server'))
    const connecting = setTimeout(() => upstream.destroy(), connectMs)
    upstream.on('connect', () => clearTimeout(connecting))
    upstream.on('drain', () => {
      if (!this.#isSwitching) this.#client.resume()
    })
    upstream.on('end', () => this.#endOf(this.#client))
    upstream.on('error', () => upstream.destroy())
    upstream.on('close', () => {
      clearTimeout(connecting)
      reader.close()
      this.#closeAfter(upstream, this.#client)
    })
    return upstream
  }

  #fromUpstream(upstream: Socket, chunk: Buffer, memory: ChunkMemory): void {
    this.#toClient(upstream, chunk, memory)
    if (!this.#isSwitching || !(this.#judge instanceof HttpRequests)) return
    this.#answer += chunk.toString('latin1', 0, STATUS_BYTES)
    const status = STATUS_LINE.exec(this.#answer)?.[1]
    if (status === undefined) {
      if (this.#answer.length >= STATUS_BYTES) this.#refuse('its server does not answer as HTTP/1 does')
      return
    }
    const judged = this.#judge.answered(Number(status))
    this.#client.resume()
    this.#forward(this.#judge, judged)
  }

  #toClient(upstream: Socket, chunk: Buffer, memory: ChunkMemory): void {
    const client = this.#client
    if (memory !== 'lent') {
      if (!writePiece(client, Buffer.from(chunk))) upstream.pause()
      return
    }
    client.write(chunk, () => {
      if (client.writableLength === 0) upstream.resume()
    })
    // What is still being written must stay as it is.
    if (client.writableLength > 0) upstream.pause()
  }

  get #isSwitching(): boolean {
    return this.#judge instanceof HttpRequests && this.#judge.isSwitching
  }

  #judgeOf(first: number): Judge | undefined {
    if (this.#to.isOpen) return { push: (chunk) => ({ pass: [chunk] }) }
    if (looksLikeTls(first))
      return new TlsOpening(this.#check, { allowsHiddenName: this.#options.allowEch === true })
    return looksLikeHttp(first) ? new HttpRequests(this.#check) : undefined
  }

  readonly #check: CheckName = (text) => {
    const sandboxes = this.#options.sandboxes()
    const sandbox = sandboxes.get(this.#id)
    if (!sandbox) return 'its sandbox is gone'
    const { name, decision, problem } = decideServer(sandboxes, sandbox, { ...this.#to, text })
    const wanted = this.#to.name
    if (wanted !== undefined && name !== wanted)
      return problem ?? `it names ${JSON.stringify(text.slice(0, 253))} and has asked the proxy for ${wanted}`
    const outcome = this.#outcome
    outcome.asked = name ?? outcome.asked
    outcome.decision = decision ?? outcome.decision
    if (name === undefined || problem !== undefined) return problem
    // It goes on as it began, so what comes now would go without its secret.
    if (this.#upstream && this.#judge && this.#serverToRead(this.#judge, name))
      return 'it turns to a server with a credential, which needs a connection of its own'
    return addName(this.#flow, name, sandbox.learned.aliasesOf(name, this.#to.address))
      ? undefined
      : 'it has named too many servers'
  }

  #note(): void {
    const client = this.#client
    this.#outcome.note({
      isThrough: this.#upstream !== undefined || this.#isRead,
      bytesSent: client.bytesRead,
      bytesReceived: this.#isRead ? client.bytesWritten : (this.#upstream?.bytesRead ?? 0),
    })
  }

  #refuse(reason: string): void {
    this.#outcome.refuse(reason)
    this.#close()
  }

  #stalled(who: string): void {
    this.#outcome.endedBy(`${who} took nothing of what waited for it for too long`)
    this.#close()
  }

  /** Passes on that one side has said everything. */
  #endOf(other: Socket): void {
    other.end()
    for (const socket of [this.#client, this.#upstream])
      socket?.setTimeout(HALF_CLOSED_MS, () => this.#close())
  }

  /** One side is gone. When it had said everything, what is still on its way to the other arrives. */
  #closeAfter(gone: Socket, other: Socket): void {
    if (!gone.readableEnded && !other.destroyed) other.resetAndDestroy()
  }

  #close(): void {
    for (const socket of [this.#client, this.#upstream])
      if (socket && !socket.destroyed) socket.resetAndDestroy()
  }
}

function protocolsOf(judge: Judge): readonly string[] | undefined {
  return judge instanceof TlsOpening ? judge.protocols : undefined
}
