// A network namespace that stands for the internet, with a web server by TLS and by plain HTTP on one address. It tells what reached it:
// what a client said of itself never counts.

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import dnsPacket from 'dns-packet'
import { formatKey, makeCertificate, makeKeyPair } from '../../../lib/x509.ts'

export type Arrived = {
  scheme: string
  host: string
  method: string
  path: string
  authorization?: string
  key?: string
  body: string
}

export type Servers = {
  dnsPort: number
  /** The authority of the server's certificate, as a file. */
  caFile: string
  /** Every request that has arrived, as soon as there is one that fits. */
  arrived(fits: (request: Arrived) => boolean): Promise<Arrived>
  all: readonly Arrived[]
  close(): Promise<void>
}

export const ADDRESS = '198.51.100.140'
export const ELSEWHERE = '198.51.100.141'
const NODE = join(import.meta.dirname, '../../../node_modules/node/bin/node')
const ARRIVE_MS = 10_000
const execute = promisify(execFile)
const ip = (...args: string[]) => execute('ip', args, { timeout: 10_000 })

/** Names are those of the certificate; the name server knows them, and what else is in `zone`. */
export async function openServers(options: {
  folder: string
  names: string[]
  zone: Record<string, string>
}): Promise<Servers> {
  const { folder, names, zone } = options
  const namespace = `vault-${process.pid}`
  const link = `vlt${process.pid}`.slice(0, 15)
  await ip('netns', 'add', namespace)
  await ip('link', 'add', link, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', namespace)
  await ip('address', 'add', '198.51.100.129/27', 'dev', link)
  await ip('link', 'set', link, 'up')
  for (const address of [ADDRESS, ELSEWHERE])
    await ip('-n', namespace, 'address', 'add', `${address}/27`, 'dev', 'eth0')
  for (const device of ['lo', 'eth0']) await ip('-n', namespace, 'link', 'set', device, 'up')
  await ip('-n', namespace, 'route', 'add', 'default', 'via', '198.51.100.129')
  const caFile = writeCertificates(folder, names)
  const all: Arrived[] = []
  const waiting = new Set<() => void>()
  const server: ChildProcess = spawn(
    'ip',
    ['netns', 'exec', namespace, NODE, join(import.meta.dirname, 'web-server.ts'), folder],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  if (!server.stdout) throw new Error('The server has no output')
  const ready = new Promise<void>((resolve, reject) => {
    server.once('exit', (code) => reject(new Error(`The server ended with ${code}`)))
    createInterface({ input: server.stdout as NonNullable<typeof server.stdout> }).on('line', (line) => {
      if (line === 'ready') return resolve()
      all.push(JSON.parse(line) as Arrived)
      for (const look of waiting) look()
    })
  })
  const dns = createSocket('udp4')
  dns.on('message', (message, { address, port }) => {
    const { id, questions = [] } = dnsPacket.decode(message)
    const [question] = questions
    const data = question?.type === 'A' ? zone[question.name.toLowerCase()] : undefined
    dns.send(
      dnsPacket.encode({
        type: 'response',
        ...(id !== undefined && { id }),
        flags: dnsPacket.RECURSION_AVAILABLE,
        questions,
        answers: question && data ? [{ type: 'A', name: question.name, ttl: 60, data }] : [],
      }),
      port,
      address,
    )
  })
  await new Promise<void>((resolve) => dns.bind(0, '127.0.0.1', resolve))
  await ready
  return {
    dnsPort: dns.address().port,
    caFile,
    all,
    arrived: (fits) =>
      new Promise((resolve, reject) => {
        const end = (settle: () => void) => {
          clearTimeout(timer)
          waiting.delete(look)
          settle()
        }
        const look = () => {
          const found = all.find(fits)
          if (found) end(() => resolve(found))
        }
        const timer = setTimeout(
          () => end(() => reject(new Error(`no such request arrived: ${JSON.stringify(all)}`))),
          ARRIVE_MS,
        )
        waiting.add(look)
        look()
      }),
    async close() {
      dns.close()
      server.kill('SIGKILL')
      await ip('netns', 'del', namespace)
      // Gone with the namespace, or not there yet.
      await ip('link', 'del', link).catch(() => {})
    },
  }
}

function writeCertificates(folder: string, names: string[]): string {
  const authority = makeKeyPair()
  const server = makeKeyPair()
  const issuer = { name: 'test authority', key: authority.privateKey }
  const validity = { notBefore: Date.now() - 3_600_000, notAfter: Date.now() + 86_400_000 }
  const put = (name: string, text: string) => writeFileSync(join(folder, name), text)
  put(
    'ca.pem',
    makeCertificate({
      name: issuer.name,
      publicKey: authority.publicKey,
      issuer,
      ...validity,
      isAuthority: true,
    }),
  )
  put(
    'server.pem',
    makeCertificate({ name: 'server', publicKey: server.publicKey, issuer, ...validity, serverNames: names }),
  )
  put('server.key', formatKey(server.privateKey))
  return join(folder, 'ca.pem')
}
