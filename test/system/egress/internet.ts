// What stands for the internet: a network namespace with a name server (dnsmasq), web servers (nginx, with TLS of a CA of its own) and
// a recorder that sees every frame that arrives. Everything that a sandbox's host does not know lies here, the attacker too.

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import { ADDRESSES_6, GOOD_6, REBINDING_6 } from './cases/ipv6.ts'
import { makePackages } from './packages.ts'
import { VAULT_ADDRESSES, VAULT_NAMES } from './vault/names.ts'

const execute = promisify(execFile)
const START_MS = 15_000
/** The size of what every web server has at `/bulk`, all of it zeros. */
export const BULK_BYTES = 2 ** 29

export const HOST = '203.0.113.1'
export const GOOD = '203.0.113.10'
export const OTHER = '203.0.113.11'
export const OPEN = '203.0.113.20'
export const NAME_SERVER = '203.0.113.53'
/** Every case has an address of the attacker, by its number, and a port of its own. */
export const FIRST_PORT = 20_000
export const TOKEN_PREFIX = 'zq'

/** What has arrived, by the number of the case. */
export type Arrivals = Record<string, { count: number; first: number; last: number }>

export type Recorder = { read(): Promise<Arrivals>; close(): void }

export type Internet = {
  recorder: Recorder
  /** Its certificate, for those who are to trust it. */
  ca: string
  close(): void
}

const NAMES: Record<string, string> = {
  'good.example': GOOD,
  'twin.example': GOOD,
  'other.example': OTHER,
  'now.example': '203.0.113.12,0',
  'day.example': '203.0.113.13,86400',
  'hint.example': GOOD,
  'denied.test': '198.51.100.250',
  'host.rebind.example': HOST,
  'pip.pkg.example': OTHER,
  'npm.pkg.example': OTHER,
  'apt.pkg.example': OTHER,
  'git.pkg.example': OTHER,
}

const ADDRESSES = [
  ...[GOOD, OTHER, '203.0.113.12', '203.0.113.13', '203.0.113.14', OPEN, NAME_SERVER],
  ...VAULT_ADDRESSES,
]

/** Whatever lies below these names has an address that no name may open. */
const REBINDING: Record<string, string> = {
  private: '10.1.2.3',
  loopback: '127.0.0.1',
  metadata: '169.254.169.254',
  shared: '100.100.100.200',
  azure: '168.63.129.16',
  zero: '0.0.0.0',
}

/** Fills a namespace that has the interface `eth0`: servers, and a recorder. */
export async function openInternet(options: { namespace: string; folder: string }): Promise<Internet> {
  const servers = await startServers(options)
  await makePackages(join(options.folder, 'sites'))
  const recorder = await openRecorder(['ip', 'netns', 'exec', options.namespace])
  return {
    recorder,
    ca: servers.ca,
    close() {
      recorder.close()
      servers.close()
    },
  }
}

/** The servers alone: names at `NAME_SERVER`, web servers at all addresses. */
export async function startServers({
  namespace,
  folder,
}: {
  namespace: string
  folder: string
}): Promise<Omit<Internet, 'recorder'>> {
  mkdirSync(folder, { recursive: true })
  const ip = (...args: string[]) => execute('ip', ['-n', namespace, ...args], { timeout: START_MS })
  await ip('link', 'set', 'lo', 'up')
  for (const address of ADDRESSES) await ip('address', 'add', `${address}/24`, 'dev', 'eth0')
  for (const address of ADDRESSES_6) await ip('-6', 'address', 'add', `${address}/64`, 'dev', 'eth0', 'nodad')
  await ip('link', 'set', 'eth0', 'up')
  await ip('route', 'add', 'default', 'via', HOST)
  await ip('-6', 'route', 'add', 'default', 'via', '2001:db8:a::1')
  // The attacker answers at every address that he has.
  await ip('route', 'add', 'local', '192.0.2.0/23', 'dev', 'lo')
  await ip('-6', 'route', 'add', 'local', '2001:db8:bad::/48', 'dev', 'lo')
  const ca = await makeCertificates(folder)
  writeFileSync(join(folder, 'bulk'), '')
  truncateSync(join(folder, 'bulk'), BULK_BYTES)
  writeFileSync(join(folder, 'nginx.conf'), formatNginx(folder))
  writeFileSync(join(folder, 'dnsmasq.conf'), formatDnsmasq(folder))
  const inside = (program: string, ...args: string[]) =>
    spawn('ip', ['netns', 'exec', namespace, program, ...args], { stdio: 'ignore' })
  const children = [
    inside('nginx', '-p', folder, '-c', join(folder, 'nginx.conf'), '-e', join(folder, 'error.log')),
    inside('dnsmasq', '--keep-in-foreground', `--conf-file=${join(folder, 'dnsmasq.conf')}`),
  ]
  return {
    ca,
    close() {
      for (const child of children) child.kill('SIGTERM')
    },
  }
}

/** Starts the recorder by a command that enters the namespace. */
export async function openRecorder([program = '', ...enter]: string[]): Promise<Recorder> {
  const file = join(import.meta.dirname, 'recorder.py')
  const child: ChildProcess = spawn(
    program,
    [...enter, '/usr/bin/env', 'python3', file, TOKEN_PREFIX, String(FIRST_PORT)],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  )
  const { stdin, stdout } = child
  if (!stdin || !stdout) throw new Error('The recorder has no pipes')
  const lines = createInterface({ input: stdout })[Symbol.asyncIterator]()
  const next = async () => {
    const { value, done } = await lines.next()
    if (done) throw new Error('The recorder has ended')
    return String(value)
  }
  await next()
  return {
    async read() {
      const line = next()
      stdin.write('\n')
      return JSON.parse(await line) as Arrivals
    },
    close: () => void child.kill('SIGTERM'),
  }
}

async function makeCertificates(folder: string): Promise<string> {
  const openssl = (...args: string[]) => execute('openssl', args, { cwd: folder, timeout: START_MS })
  const names = Object.keys(NAMES)
    .map((name) => `DNS:${name}`)
    .join(',')
  await openssl(
    ...['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=lab authority'],
    ...['-keyout', 'ca.key', '-out', 'ca.pem'],
  )
  await openssl(
    ...['req', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=good.example', '-addext'],
    ...[`subjectAltName=${names}`, '-keyout', 'server.key', '-out', 'server.csr'],
  )
  await openssl(
    ...['x509', '-req', '-in', 'server.csr', '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial'],
    ...['-days', '2', '-copy_extensions', 'copy', '-out', 'server.pem'],
  )
  return readFileSync(join(folder, 'ca.pem'), 'utf8')
}

function formatNginx(folder: string): string {
  const tls = `ssl_certificate ${folder}/server.pem; ssl_certificate_key ${folder}/server.key;`
  const sites = ['pip', 'npm', 'apt', 'git'].map(
    (name) => `server { listen 443 ssl; listen 80; server_name ${name}.pkg.example; ${tls}
      root ${folder}/sites/${name}; default_type application/json; autoindex on; index index.html index.json; }`,
  )
  return `daemon off; pid ${folder}/nginx.pid; user root; worker_processes 1; error_log ${folder}/error.log;
events { worker_connections 512; }
http {
  access_log off; client_body_temp_path ${folder}/body; proxy_temp_path ${folder}/proxy;
  fastcgi_temp_path ${folder}/fastcgi; uwsgi_temp_path ${folder}/uwsgi; scgi_temp_path ${folder}/scgi;
  server { listen 80 default_server; listen [::]:80 default_server; listen 443 ssl http2 default_server; ${tls}
    location = /bulk { root ${folder}; }
    location / { return 200 "host $host name $ssl_server_name target $request_uri"; } }
  ${sites.join('\n  ')}
}
`
}

function formatDnsmasq(folder: string): string {
  const records = Object.entries({ ...NAMES, ...VAULT_NAMES }).map(
    ([name, address]) => `host-record=${name},${address}`,
  )
  return [
    'no-resolv',
    'no-hosts',
    'no-daemon',
    `log-facility=${folder}/dnsmasq.log`,
    'user=root',
    'bind-interfaces',
    `listen-address=${NAME_SERVER}`,
    'local-ttl=60',
    ...records,
    `host-record=good.example,${GOOD_6}`,
    'host-record=mixed.rebind.example,203.0.113.14',
    'host-record=mixed.rebind.example,10.1.2.4',
    'cname=alias.example,denied.test',
    // HTTPS: priority 1, no other name, ipv4hint.
    'dns-rr=hint.example,65,000100000400 04cb00710e'.replace(' ', ''),
    'address=/tun.example/203.0.113.14',
    ...Object.entries({ ...REBINDING, ...REBINDING_6 }).map(
      ([kind, address]) => `address=/${kind}.rebind.example/${address}`,
    ),
    'local=/example/',
    'local=/test/',
    '',
  ].join('\n')
}
