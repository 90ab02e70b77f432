// An SSH server on loopback with keys of its own, which lets this user in by one key, and the client's configuration for it.

import { execFileSync, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from './edge.ts'

const SSHD = '/usr/sbin/sshd'

export type TestSshServer = {
  port: number
  /** The client's configuration, as `ssh -F` takes it. */
  config: string
  /** The same, but for known hosts: it knows another host under the server's name. */
  configOfStranger: string
  /** Ends the connections that there are; others can be made. */
  breakOff(): void
  dispose(): Promise<void>
}

export async function startSshServer(): Promise<TestSshServer> {
  const folder = mkdtempSync(join(tmpdir(), 'test-ssh-'))
  const at = (name: string) => join(folder, name)
  for (const name of ['host', 'other-host', 'user'])
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', at(name)])
  const port = await freePort()
  writeFileSync(at('authorized'), readFileSync(at('user.pub')))
  writeFileSync(
    at('sshd'),
    [
      `Port ${port}`,
      'ListenAddress 127.0.0.1',
      `HostKey ${at('host')}`,
      `AuthorizedKeysFile ${at('authorized')}`,
      `PidFile ${at('pid')}`,
      'StrictModes no',
      'UsePAM no',
      'PasswordAuthentication no',
      'PermitRootLogin prohibit-password',
      '',
    ].join('\n'),
  )
  const clientConfig = (name: string, key: string) => {
    writeFileSync(at(`${name}-known`), `[127.0.0.1]:${port} ${readFileSync(at(`${key}.pub`), 'utf8')}`)
    const lines = [
      'Host *',
      `IdentityFile ${at('user')}`,
      'IdentitiesOnly yes',
      `UserKnownHostsFile ${at(`${name}-known`)}`,
      // What the product says counts more.
      'StrictHostKeyChecking no',
      '',
    ]
    writeFileSync(at(name), lines.join('\n'))
    return at(name)
  }
  // Where it keeps those whom nobody knows yet.
  mkdirSync('/run/sshd', { recursive: true, mode: 0o755 })
  const child = spawn(SSHD, ['-D', '-e', '-f', at('sshd')], { stdio: ['ignore', 'ignore', 'pipe'] })
  const ended = new Promise((resolve) => child.once('exit', resolve))
  await new Promise<void>((resolve, reject) => {
    let said = ''
    child.stderr.on('data', (chunk: Buffer) => {
      said = (said + chunk).slice(-2000)
      if (said.includes('Server listening')) resolve()
    })
    child.once('error', reject)
    child.once('exit', () => reject(new Error(`sshd ended: ${said}`)))
  })
  const connections = () => {
    const path = `/proc/${child.pid}/task/${child.pid}/children`
    return readFileSync(path, 'utf8').split(' ').filter(Boolean).map(Number)
  }
  const breakOff = () => {
    for (const pid of connections()) process.kill(pid, 'SIGKILL')
  }
  return {
    port,
    config: clientConfig('client', 'host'),
    configOfStranger: clientConfig('stranger', 'other-host'),
    breakOff,
    async dispose() {
      breakOff()
      child.kill()
      await ended
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
