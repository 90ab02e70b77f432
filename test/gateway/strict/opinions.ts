// How three readers understand the same bytes: the gateway, llhttp (which is Node's server) and nginx. Of the two that pass
// requests on, it counts what a server behind them is given. Cases go through lanes, one at a time in each, so that what is
// seen can be told to be of which.

import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type RequestListener } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createGateway, type Gateway } from '../../../gateway/server.ts'
import type { Route } from '../../../lib/api/routes-feed.ts'
import type { LogFields } from '../../../lib/log.ts'
import { waitForPort } from '../../support/wait-for-port.ts'

export type Opinion = {
  /** `METHOD target body` of every whole request. */
  requests: string[]
  /** What became of the connection then; who `waits` takes more to be coming. */
  end: 'refused' | 'closed' | 'waits'
}

export type Opinions = {
  /** With a body of `?` where the gateway itself has answered. */
  gateway: Opinion
  /** What the gateway took itself to pass on but nobody has seen behind it, or the other way round. */
  lost: string[]
  llhttp: Opinion
  nginx?: Opinion
}

/** When nothing has come for so long, nothing is taken to be coming. */
export const QUIET_MS = 40
const AT_MOST_MS = 5000
/** The gateway may have passed on more than Node takes by default. */
const SERVER = { maxHeaderSize: 128 * 1024 }

type Recorder = { port: number; socketPath: string; take(): string[]; close(): void }

export type Lane = {
  ask(bytes: string, quietMs?: number): Promise<Opinions>
  /** Resolves when what was late has come, and forgets it. */
  settle(quietMs: number): Promise<void>
  close(): Promise<void>
}

/** Lanes, with nginx as a third reader when it is installed. */
export async function openLanes(
  count: number,
  hasNginx: boolean,
): Promise<{ lanes: Lane[]; close(): Promise<void> }> {
  const behindNginx = await Promise.all(Array.from({ length: hasNginx ? count : 0 }, startRecorder))
  const nginx = hasNginx ? await startNginx(behindNginx.map(({ port }) => port)) : undefined
  const lanes = await Promise.all(
    Array.from({ length: count }, (_, at) => {
      const [recorder, port] = [behindNginx[at], nginx?.ports[at]]
      return openLane(recorder && port !== undefined ? { recorder, port } : undefined)
    }),
  )
  return {
    lanes,
    close: async () => {
      await Promise.all(lanes.map((lane) => lane.close()))
      for (const recorder of behindNginx) recorder.close()
      await nginx?.close()
    },
  }
}

async function openLane(nginx: { recorder: Recorder; port: number } | undefined): Promise<Lane> {
  const [behind, direct] = await Promise.all([startRecorder(), startRecorder()])
  const reported: Reported[] = []
  const gateway = createFuzzedGateway(behind, (request) => reported.push(request))
  const port = await gateway.listen({ host: '127.0.0.1', port: 0 })
  return {
    ask: async (bytes, quietMs = QUIET_MS) => {
      const [ours, llhttp, nginxs] = await Promise.all([
        talk(port, bytes, quietMs),
        talk(direct.port, bytes, quietMs),
        nginx && talk(nginx.port, bytes, quietMs),
      ])
      const { requests, lost } = holdTogether(reported.splice(0), behind.take())
      return {
        gateway: { requests, end: ours },
        lost,
        llhttp: { requests: direct.take(), end: llhttp },
        ...(nginx && nginxs && { nginx: { requests: nginx.recorder.take(), end: nginxs } }),
      }
    },
    settle: async (quietMs) => {
      await new Promise((resolve) => setTimeout(resolve, 2 * quietMs))
      for (const recorder of [behind, direct, nginx?.recorder]) recorder?.take()
      reported.length = 0
    },
    close: async () => {
      await gateway.close(0)
      behind.close()
      direct.close()
    },
  }
}

/** A request whose head the gateway has read, as its log tells it: without what follows `?`. */
type Reported = { line: string; isForwarded: boolean }

/** The gateway's own reading, and what of it does not agree with what was seen behind it. */
function holdTogether(reported: Reported[], seen: string[]): { requests: string[]; lost: string[] } {
  const requests: string[] = []
  const lost: string[] = []
  const left = [...seen]
  for (const { line, isForwarded } of reported) {
    if (!isForwarded) {
      requests.push(`${line} ?`)
      continue
    }
    const next = left.shift()
    const [, method, target = ''] = /^(\S+) (\S+) /.exec(next ?? '') ?? []
    if (next !== undefined) requests.push(next)
    if (`${method} ${target.split('?', 1)[0]?.slice(0, 200)}` !== line) lost.push(`${line} is ${next}`)
  }
  return { requests, lost: [...lost, ...left] }
}

/** Wherever a request leads, it leads to the recorder: a changed `Host` changes no border. */
function createFuzzedGateway(
  { port, socketPath }: Recorder,
  onReported: (request: Reported) => void,
): Gateway {
  const ports = { 8000: { host: '127.0.0.1', port } }
  const route: Route = { id: 'a', state: 'running', address: '127.0.0.1', generation: 1, ports }
  const report = (_message: string, { method, path, status }: LogFields = {}) => {
    // One that was not whole when the client left is none.
    if (method !== undefined && status !== 499)
      onReported({ line: `${method} ${path}`, isForwarded: status === 200 })
  }
  return createGateway({
    access: { hasApiKey: true, guardsTraffic: false, domain: 'localhost', ownHosts: new Set() },
    checkKey: async () => undefined,
    controlSocket: socketPath,
    routes: {
      size: 1,
      isCurrent: true,
      findDomain: () => undefined,
      get: () => route,
      find: async () => 'unknown',
      onChange: () => () => {},
    },
    log: { debug: report, info: report, warn: report, error: report },
    logsRequests: () => true,
  })
}

/** Node's own server, as strict as it is by default. */
async function startRecorder(): Promise<Recorder> {
  let seen: string[] = []
  const folder = mkdtempSync(join(tmpdir(), 'fuzz-'))
  const socketPath = join(folder, 'socket')
  const record: RequestListener = (request, response) => {
    let body = ''
    request
      .setEncoding('latin1')
      .on('data', (chunk: string) => {
        body += chunk
      })
      .on('error', () => {})
      .on('end', () => {
        const target = request.url?.replace(/^https?:\/\/[^/?#]*/i, '').replace(/^(?!\/|\*$)/, '/')
        seen.push(`${request.method} ${target} ${body}`)
        response.end('ok')
      })
  }
  const [server, local] = [createServer(SERVER, record), createServer(SERVER, record)]
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  await new Promise<void>((resolve) => local.listen(socketPath, resolve))
  const address = server.address()
  return {
    socketPath,
    port: typeof address === 'object' && address ? address.port : 0,
    take: () => {
      const taken = seen
      seen = []
      return taken
    },
    close: () => {
      for (const each of [server, local]) {
        each.closeAllConnections()
        each.close()
      }
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** What became of a connection on which these bytes were sent. */
function talk(port: number, bytes: string, quietMs: number): Promise<Opinion['end']> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    let text = ''
    const finish = (isClosed: boolean) => {
      clearTimeout(latest)
      socket.resetAndDestroy()
      const last = text.match(/HTTP\/1\.\d \d{3}/g)?.at(-1) ?? ''
      // nginx refuses what it takes for HTTP/0.9 without a head.
      const isRefused = / [45]\d\d$/.test(last) || (last === '' && text.includes('<html>'))
      resolve(isRefused ? 'refused' : isClosed ? 'closed' : 'waits')
    }
    const latest = setTimeout(() => finish(false), AT_MOST_MS)
    socket
      .setTimeout(quietMs, () => finish(false))
      .setEncoding('latin1')
      .on('data', (chunk: string) => {
        text += chunk
      })
      .on('end', () => finish(true))
      .on('error', () => finish(true))
      .write(bytes, 'latin1')
  })
}

async function startNginx(upstreams: number[]): Promise<{ ports: number[]; close(): Promise<void> }> {
  const folder = mkdtempSync(join(tmpdir(), 'fuzz-nginx-'))
  const probe = await Promise.all(upstreams.map(startRecorder))
  const ports = probe.map(({ port }) => port)
  for (const each of probe) each.close()
  const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (kind) => `${kind}_temp_path ${folder}/${kind};`,
  )
  const servers = ports.map(
    (port, at) =>
      `server { listen 127.0.0.1:${port}; location / { proxy_pass http://127.0.0.1:${upstreams[at]}; proxy_http_version 1.1; } }`,
  )
  writeFileSync(
    join(folder, 'nginx.conf'),
    `user root; worker_processes 1; daemon off; master_process off; pid ${folder}/pid; error_log stderr crit;
events { worker_connections 1024; }
http { access_log off; ${temp.join(' ')} ${servers.join('\n')} }
`,
  )
  const child = spawn('nginx', ['-c', join(folder, 'nginx.conf'), '-p', folder], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  await waitForPort(ports.at(-1) ?? 0, child)
  return {
    ports,
    close: () =>
      new Promise((resolve) => {
        child.once('close', () => {
          rmSync(folder, { recursive: true, force: true })
          resolve()
        })
        child.kill('SIGKILL')
      }),
  }
}
