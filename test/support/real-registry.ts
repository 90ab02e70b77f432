// Debian's own registry, as a process on loopback, with or without a password.

import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from './edge.ts'

export const LOGIN = { username: 'it', password: 'sesame' }
/** `it:sesame`, as htpasswd writes it. */
const PASSWORDS = 'it:$2b$05$abcdefghijklmnopqrstuuKcS.CYWVYVaLiiCKrrc0A5s3mGesJ9O\n'

export type RealRegistry = {
  /** `127.0.0.1:port` */
  host: string
  /** Puts an image of an OCI layout into it, and gives its reference. */
  push(layout: string, name: string): string
  dispose(): void
}

export async function startRegistry({ hasPassword = false } = {}): Promise<RealRegistry> {
  const folder = mkdtempSync(join(tmpdir(), 'registry-'))
  const host = `127.0.0.1:${await freePort()}`
  const config = join(folder, 'registry.yml')
  const passwords = join(folder, 'passwords')
  writeFileSync(passwords, PASSWORDS)
  writeFileSync(
    config,
    `version: 0.1
storage: {filesystem: {rootdirectory: ${folder}/data}}
http: {addr: "${host}"}
${hasPassword ? `auth: {htpasswd: {realm: test, path: ${passwords}}}\n` : ''}`,
  )
  const child = spawn('docker-registry', ['serve', config], { stdio: 'ignore' })
  const wait = ['--retry', '40', '--retry-connrefused', '--retry-delay', '1', '--retry-max-time', '40']
  execFileSync('curl', ['-s', '-o', '/dev/null', ...wait, `http://${host}/v2/`], { timeout: 60_000 })
  return {
    host,
    push(layout, name) {
      const login = hasPassword ? ['--dest-creds', `${LOGIN.username}:${LOGIN.password}`] : []
      const to = `docker://${host}/${name}`
      const args = ['copy', '--quiet', '--insecure-policy', '--dest-tls-verify=false', ...login]
      execFileSync('skopeo', [...args, `oci:${layout}`, to], { stdio: 'pipe', timeout: 60_000 })
      return `${host}/${name}`
    },
    dispose() {
      child.kill()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
