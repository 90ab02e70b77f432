// The ways to one server that the benchmark of interception compares: nobody in between, egress that looks at the name, egress that reads
// and puts a secret in, and the same by HAProxy and by mitmproxy, each with a certificate of its own.

import { truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { GOOD, HOST } from '../system/egress/internet.ts'
import { type Lab, measure, run } from './egress-lab.ts'
import { isInstalled } from './gateway-lab.ts'
import { BULK_BYTES, LOAD_CORE, MIDDLE_CORE, SERVER_PORT, type Way } from './interception-load.ts'

export type Ways = {
  plain: Way
  checked: Way
  ours: Way
  haproxy: Way
  mitmproxy: Way | undefined
}

/** What egress must be told for it. */
export const egressTomlFor = (folder: string) =>
  `vault_ports = [80, 443, ${SERVER_PORT}]\nupstream_ca_file = "${caOf(folder)}"\n`

const HAPROXY_PORTS = { 'HTTP/1.1': 8441, 'HTTP/2': 8442 }
const MITMPROXY_PORT = 8440
const SINK_PORT = 8444
const SECRET = 'a-secret-of-the-benchmark'
/** Names lead to their addresses for a minute. */
const RESOLVED_MS = 20_000

const caOf = (folder: string) => join(folder, 'internet/ca.pem')
export const bulkOf = (folder: string) => join(folder, 'bulk')

export async function openWays(lab: Lab): Promise<Ways> {
  const { folder, namespaces, network } = lab
  writeFileSync(bulkOf(folder), '')
  truncateSync(bulkOf(folder), BULK_BYTES)
  await startServer(lab)
  await run('taskset', '-a', '-p', '-c', String(MIDDLE_CORE), String(lab.egressPid))
  await lab.vault('ours', {
    credentials: [{ name: 'key', source: { value: SECRET } }],
    bindings: [
      {
        name: 'key',
        match: { hosts: ['good.example'], ports: [SERVER_PORT], methods: ['GET', 'PUT'] },
        auth: { type: 'bearer', credential: 'key' },
      },
    ],
  })
  const atServer = { 'HTTP/1.1': SERVER_PORT, 'HTTP/2': SERVER_PORT }
  const peer = { namespace: namespaces.plain, host: 'good.example', address: HOST }
  const behindEgress = (host: string, name: string): Way => {
    let resolvedAt = Number.NEGATIVE_INFINITY
    return {
      ...{ name, namespace: namespaces.ours, host, address: GOOD, portOf: atServer, pid: lab.egressPid },
      async prepare() {
        if (performance.now() - resolvedAt < RESOLVED_MS) return
        await measure(namespaces.ours, 'dns', network.gateway, host)
        resolvedAt = performance.now()
      },
    }
  }
  return {
    plain: { ...peer, name: 'plain NAT', address: GOOD, portOf: atServer },
    checked: behindEgress('twin.example', 'name checked'),
    ours: behindEgress('good.example', 'ours'),
    haproxy: { ...peer, name: 'HAProxy', portOf: HAPROXY_PORTS, pid: await startHaproxy(lab) },
    mitmproxy: isInstalled('mitmdump')
      ? {
          ...{ ...peer, name: 'mitmproxy', pid: await startMitmproxy(lab) },
          portOf: { 'HTTP/1.1': MITMPROXY_PORT, 'HTTP/2': MITMPROXY_PORT },
        }
      : undefined,
  }
}

/** Behind nginx, which has one process: small answers, a large one, and who reads a large body. */
async function startServer({ folder, namespaces, spawn }: Lab): Promise<void> {
  const inside = join(folder, 'internet')
  const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((kind) => `${kind}_temp_path ${join(folder, kind)};`)
    .join(' ')
  const file = join(folder, 'server.conf')
  writeFileSync(
    file,
    `user root; master_process off; daemon off; pid ${join(folder, 'server.pid')}; error_log stderr crit;
events { worker_connections 4096; }
http { access_log off; keepalive_requests 100000000; ${temp}
  server { listen ${SERVER_PORT} ssl http2 backlog=1024; client_max_body_size 0; http2_max_concurrent_streams 128;
    ssl_certificate ${inside}/server.pem; ssl_certificate_key ${inside}/server.key; ssl_session_cache shared:tls:4m;
    location = /small { return 200 "hello, this is a small answer"; }
    location = /bulk { root ${folder}; }
    location = /sink { proxy_pass http://127.0.0.1:${SINK_PORT}; proxy_request_buffering off; proxy_http_version 1.1; } } }
`,
  )
  const enter = ['-c', String(LOAD_CORE), 'ip', 'netns', 'exec', namespaces.internet]
  spawn('taskset', [...enter, 'nginx', '-c', file, '-p', folder])
  spawn('taskset', [...enter, 'python3', join(import.meta.dirname, 'sink.py'), String(SINK_PORT)])
  await untilListening([SERVER_PORT, SINK_PORT], ['ip', 'netns', 'exec', namespaces.internet])
}

async function untilListening(ports: readonly number[], enter: readonly string[] = []): Promise<void> {
  const waits = ports.map((port) => `until ss -Hltn "sport = :${port}" | grep -q .; do sleep 0.05; done`)
  const [program = 'sh', ...args] = [...enter, 'sh', '-c', waits.join('; ')]
  await run(program, ...args)
}

/** One thread, as egress has one for connections; its certificate is of the kind that ours are. */
async function startHaproxy({ folder, spawn }: Lab): Promise<number> {
  const openssl = (...args: string[]) => run('openssl', ...args)
  const at = (name: string) => join(folder, name)
  await openssl(
    ...['req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', '/CN=good.example'],
    ...['-addext', 'subjectAltName=DNS:good.example', '-keyout', at('leaf.key'), '-out', at('leaf.csr')],
  )
  await openssl(
    ...[
      'x509',
      '-req',
      '-in',
      at('leaf.csr'),
      '-CA',
      caOf(folder),
      '-CAkey',
      join(folder, 'internet/ca.key'),
    ],
    ...['-CAcreateserial', '-days', '2', '-copy_extensions', 'copy', '-out', at('leaf.crt')],
  )
  await run('sh', '-c', `cat ${at('leaf.crt')} ${at('leaf.key')} > ${at('leaf.pem')}`)
  const part = (name: string, port: number, alpn: string) => `frontend ${name}
  bind ${HOST}:${port} ssl crt ${at('leaf.pem')} alpn ${alpn} backlog 1024
  http-request set-header Authorization "Bearer ${SECRET}"
  default_backend ${name}
backend ${name}
  http-reuse always
  server one ${GOOD}:${SERVER_PORT} ssl verify required ca-file ${caOf(folder)} sni str(good.example) alpn ${alpn}
`
  writeFileSync(
    at('terminating.cfg'),
    `global
  nbthread 1
  maxconn 4000
defaults
  mode http
  option http-keep-alive
  timeout connect 5s
  timeout client 60s
  timeout server 60s
${part('one', HAPROXY_PORTS['HTTP/1.1'], 'http/1.1')}${part('two', HAPROXY_PORTS['HTTP/2'], 'h2')}`,
  )
  const core = ['-c', String(MIDDLE_CORE)]
  const { pid = 0 } = spawn('taskset', [...core, 'haproxy', '-db', '-q', '-f', at('terminating.cfg')])
  await untilListening([HAPROXY_PORTS['HTTP/2']])
  return pid
}

/** What people put into requests with today. It is spared the look at the server's certificate. */
async function startMitmproxy({ folder, spawn }: Lab): Promise<number> {
  const { pid = 0 } = spawn('taskset', [
    ...['-c', String(MIDDLE_CORE), 'mitmdump', '-q', '--set', `confdir=${join(folder, 'mitmproxy')}`],
    ...['--mode', `reverse:https://${GOOD}:${SERVER_PORT}`, '--listen-host', HOST],
    ...[
      '--listen-port',
      String(MITMPROXY_PORT),
      '--set',
      'ssl_insecure=true',
      '--set',
      'keep_host_header=true',
    ],
    ...['--set', 'stream_large_bodies=1m', '--set', 'connection_strategy=lazy'],
    ...['--modify-headers', `/~q/Authorization/Bearer ${SECRET}`],
  ])
  await untilListening([MITMPROXY_PORT])
  return pid
}
