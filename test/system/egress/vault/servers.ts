// Starts the servers of the vault's cases in the suite's internet, with certificates of an authority that egress is told to trust.

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { makeAuthority } from '../../../../egress/interception/authority.ts'
import { formatKey, type Issuer, makeCertificate, makeKeyPair } from '../../../../lib/x509.ts'
import { type Heard, LISTENERS, VAULT_NAMES } from './names.ts'

const DAY_MS = 86_400_000

export type VaultServers = {
  heard(): Promise<readonly Heard[]>
  close(): void
}

/** The authority of the servers, as a file. */
export function writeVaultCertificates(folder: string): string {
  mkdirSync(folder, { recursive: true })
  const now = Date.now()
  const world = makeAuthority('the world', now)
  const names = Object.keys(VAULT_NAMES)
  const put = (name: string, order: { serverNames: string[]; issuer?: Issuer; notAfter?: number }) => {
    const { privateKey: key, publicKey } = makeKeyPair()
    const { serverNames, issuer = world, notAfter = now + DAY_MS } = order
    const notBefore = now - 2 * DAY_MS
    const certificate = makeCertificate({
      ...{ name, publicKey, notBefore, notAfter, serverNames },
      issuer: issuer.name === 'self' ? { name: 'self', key } : issuer,
    })
    writeFileSync(join(folder, `${name}.pem`), certificate)
    writeFileSync(join(folder, `${name}.key`), formatKey(key))
  }
  const isOdd = /^(?:self|expired|wrong|old|stranger)\./
  put('good', { serverNames: names.filter((name) => !isOdd.test(name)) })
  put('stranger', { serverNames: ['stranger.bound.example', 'old.bound.example'] })
  put('self', { serverNames: ['self.bound.example'], issuer: { ...world, name: 'self' } })
  put('expired', { serverNames: ['expired.bound.example'], notAfter: now - DAY_MS })
  put('wrong', { serverNames: ['elsewhere.example'] })
  const file = join(folder, 'world.pem')
  writeFileSync(file, world.certificate)
  return file
}

export async function startVaultServers(options: {
  namespace: string
  folder: string
}): Promise<VaultServers> {
  const { namespace, folder } = options
  const rules = LISTENERS.map(
    ({ address, port, at }) => `ip daddr ${address} tcp dport ${port} redirect to :${at}`,
  )
  const table = `table ip vaults { chain first { type nat hook prerouting priority -100; ${rules.join('; ')}; }; }`
  await new Promise<void>((resolve, reject) =>
    execFile('ip', ['netns', 'exec', namespace, 'nft', table], { timeout: 10_000 }, (error) =>
      error ? reject(error) : resolve(),
    ),
  )
  const child: ChildProcess = spawn(
    'ip',
    ['netns', 'exec', namespace, process.execPath, join(import.meta.dirname, 'bound-server.ts'), folder],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  )
  const { stdin, stdout } = child
  if (!stdin || !stdout) throw new Error('The servers have no pipes')
  const lines = createInterface({ input: stdout })[Symbol.asyncIterator]()
  const next = async () => {
    const { value, done } = await lines.next()
    if (done) throw new Error('The servers of the vault have ended')
    return String(value)
  }
  await next()
  return {
    async heard() {
      const line = next()
      stdin.write('\n')
      return JSON.parse(await line) as Heard[]
    },
    close: () => void child.kill('SIGTERM'),
  }
}
