// A Jupyter server of a few lines, to do what a real one does only on a bad day.

import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type WebSocket, WebSocketServer } from 'ws'

type Frame = { channel?: string; msg_type: string; parent?: string; content?: Record<string, unknown> }

export type FakeKernel = {
  /** What the REST interface says about it; undefined: there is none. */
  state: string | undefined
  /** Sends a message to whoever is connected; without a parent it belongs to the running cell. */
  send(frame: Frame): void
  /** The id of the last `execute_request`. */
  current: string
  sockets: Set<WebSocket>
  /** One entry for each connection that there ever was. */
  connections: URL[]
}

export type FakeJupyter = {
  url: string
  port: number
  kernel: FakeKernel
  /** Each request as `METHOD /path`, with its headers. */
  requests: { line: string; headers: IncomingMessage['headers'] }[]
  specs: Record<string, unknown>
  startedAt: Date
  /** Whether requests are taken and never answered. */
  isStuck: boolean
  /** What the kernel does with a cell; by default it answers and goes idle. */
  onExecute: (code: string, kernel: FakeKernel) => void
  stop(): Promise<void>
}

export const PYTHON = { python3: { name: 'python3', spec: { language: 'python' } } }

export async function startFakeJupyter({ token = 'secret', port = 0 } = {}): Promise<FakeJupyter> {
  const kernel: FakeKernel = {
    state: 'idle',
    current: '',
    sockets: new Set(),
    connections: [],
    send: ({ channel = 'iopub', msg_type, parent = kernel.current, content = {} }) => {
      const text = JSON.stringify({
        header: { msg_type, msg_id: 'any' },
        parent_header: parent === '' ? {} : { msg_id: parent },
        channel,
        content,
      })
      for (const socket of kernel.sockets) socket.send(text)
    },
  }
  const fake: FakeJupyter = {
    url: '',
    port: 0,
    kernel,
    requests: [],
    specs: PYTHON,
    startedAt: new Date(0),
    isStuck: false,
    onExecute: (_code, { send }) => {
      send({ channel: 'shell', msg_type: 'execute_reply', content: { status: 'ok', execution_count: 1 } })
      send({ msg_type: 'status', content: { execution_state: 'idle' } })
    },
    stop: async () => {
      for (const socket of kernel.sockets) socket.terminate()
      await stopServer(server)
    },
  }
  const server = createServer((request, response) => {
    const line = `${request.method} ${request.url}`
    fake.requests.push({ line, headers: request.headers })
    const answer = (status: number, body?: unknown) => {
      response.writeHead(status, { 'Content-Type': 'application/json' })
      response.end(body === undefined ? undefined : JSON.stringify(body))
    }
    if (fake.isStuck) return
    if (request.headers.authorization !== `Token ${token}`) return answer(403, { message: 'Forbidden' })
    if (line === 'GET /api/kernelspecs') return answer(200, { kernelspecs: fake.specs })
    if (line === 'GET /api/status') return answer(200, { started: fake.startedAt.toISOString() })
    if (line === 'POST /api/sessions') return answer(201, { id: 'session-1', kernel: { id: 'kernel-1' } })
    if (line === 'DELETE /api/sessions/session-1') return answer(204)
    if (line === 'POST /api/kernels/kernel-1/interrupt') return answer(204)
    if (line === 'GET /api/kernels/kernel-1' && kernel.state !== undefined)
      return answer(200, { execution_state: kernel.state })
    answer(404, { message: 'Not found' })
  })
  const sockets = new WebSocketServer({ noServer: true })
  server.on('upgrade', (request, socket, head) => {
    fake.requests.push({ line: `WS ${request.url}`, headers: request.headers })
    sockets.handleUpgrade(request, socket, head, (connection) => {
      kernel.connections.push(new URL(request.url ?? '', 'http://fake'))
      kernel.sockets.add(connection)
      connection.on('close', () => kernel.sockets.delete(connection))
      connection.on('message', (data) => {
        const { header, content } = JSON.parse(String(data))
        if (header.msg_type === 'kernel_info_request') {
          kernel.send({ channel: 'shell', msg_type: 'kernel_info_reply', parent: header.msg_id })
          kernel.send({ msg_type: 'status', parent: header.msg_id, content: { execution_state: 'idle' } })
        } else if (content.silent) {
          const reply = { status: 'ok' }
          kernel.send({ channel: 'shell', msg_type: 'execute_reply', parent: header.msg_id, content: reply })
          kernel.send({ msg_type: 'status', parent: header.msg_id, content: { execution_state: 'idle' } })
        } else {
          kernel.current = header.msg_id
          fake.onExecute(content.code, kernel)
        }
      })
    })
  })
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  fake.port = (server.address() as AddressInfo).port
  fake.url = `http://127.0.0.1:${fake.port}`
  return fake
}

function stopServer(server: Server): Promise<void> {
  server.closeAllConnections()
  return new Promise((resolve) => server.close(() => resolve()))
}
