// An agent's working day in one sandbox, with the published SDK alone: upload a project, install a package from the
// package index with only that name allowed, run the project's tests, start its web server, move a large file both ways,
// and see that a name that nobody allowed cannot be reached.
//
//   npm start                     in one terminal
//   npm run example               in another; --server HOST:PORT for another place, --wait to leave the server running
//
// It ends with one line of JSON for programs that drive it.

import { execFileSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline/promises'
import { ConnectionConfig, Sandbox } from '@alibaba-group/opensandbox'

const PROJECT = join(import.meta.dirname, 'project')
const LARGE_FILE_BYTES = 200 * 1024 * 1024
const CHUNK_BYTES = 1 << 20

const args = process.argv.slice(2)
const server =
  args[args.indexOf('--server') + 1] && args.includes('--server')
    ? args[args.indexOf('--server') + 1]
    : undefined
const domain = server ?? process.env.OPEN_SANDBOX_DOMAIN ?? '127.0.0.1:8080'

// The package index is whatever npm on this machine is set to; nothing else will be reachable.
const registry = new URL(execFileSync('npm', ['config', 'get', 'registry'], { encoding: 'utf8' }).trim())
say(`Package index of this machine: ${registry.hostname}`)

const sandbox = await Sandbox.create({
  connectionConfig: new ConnectionConfig({ domain }),
  image: 'host',
  timeoutSeconds: 900,
  resource: { cpu: '2', memory: '1Gi' },
  env: {
    npm_config_registry: registry.href,
    npm_config_update_notifier: 'false',
    // The machine's own certificate authorities, which the image "host" brings along.
    NODE_EXTRA_CA_CERTS: '/etc/ssl/certs/ca-certificates.crt',
  },
  networkPolicy: { defaultAction: 'deny', egress: [{ action: 'allow', target: registry.hostname }] },
})
say(`Sandbox ${sandbox.id}`)

try {
  await uploadProject()
  say('Project uploaded')
  say(`npm install: ${(await run('npm install --no-audit --no-fund')).trim().split('\n').at(-1)}`)
  const tests = await run('npm test')
  const passed = Number(/^. pass (\d+)$/m.exec(tests)?.[1])
  const failed = Number(/^. fail (\d+)$/m.exec(tests)?.[1])
  say(`npm test: ${passed} passed, ${failed} failed`)

  await sandbox.commands.run('npm start', { background: true, workingDirectory: '/workspace/guestbook' })
  // The port opens a moment after the start.
  await run('curl -sS --retry 5 --retry-connrefused --retry-max-time 20 -o /dev/null http://127.0.0.1:3000/')
  const page = `http://${sandbox.id}-3000.localhost:${domain.split(':')[1]}/`
  say(`Web server: ${page}`)

  const checksums = await moveLargeFile()
  say(
    `${LARGE_FILE_BYTES / 1024 / 1024} MB: sent ${checksums.sent}, in the sandbox ${checksums.inside}, received ${checksums.received}`,
  )

  const denied = await sandbox.commands.run('curl -sS --max-time 10 http://not-allowed.example/')
  const reason = denied.logs.stderr
    .map(({ text }) => text)
    .join('')
    .trim()
  say(`A name that is not allowed: exit code ${denied.exitCode}, ${reason}`)

  if (args.includes('--wait')) {
    say('READY')
    await createInterface({ input: process.stdin })
      .question('Enter ends the sandbox. ')
      .catch(() => '')
  }
  const result = {
    id: sandbox.id,
    page,
    passed,
    failed,
    checksums,
    denied: { exitCode: denied.exitCode, reason },
  }
  process.stdout.write(`${JSON.stringify(result)}\n`)
} finally {
  await sandbox.kill()
  await sandbox.close()
}

async function uploadProject(): Promise<void> {
  const paths = globSync('**/*.*', { cwd: PROJECT })
  await sandbox.files.writeFiles(
    paths.map((path) => ({
      path: `/workspace/guestbook/${path}`,
      data: readFileSync(join(PROJECT, path)),
      mode: 644,
    })),
  )
}

/** Runs a command in the project and gives back what it printed; throws when it fails. */
async function run(command: string): Promise<string> {
  const done = await sandbox.commands.run(command, {
    workingDirectory: '/workspace/guestbook',
    timeoutSeconds: 180,
  })
  const lines = [...done.logs.stdout, ...done.logs.stderr]
    .map(({ text }) => text.replace(/\n$/, ''))
    .join('\n')
  if (done.exitCode !== 0) throw new Error(`"${command}" ended with ${done.exitCode}:\n${lines}`)
  return lines
}

async function moveLargeFile(): Promise<{ sent: string; inside: string; received: string }> {
  const sent = createHash('sha256')
  async function* content() {
    for (let left = LARGE_FILE_BYTES; left > 0; left -= CHUNK_BYTES) {
      const chunk = randomBytes(CHUNK_BYTES)
      sent.update(chunk)
      yield chunk
    }
  }
  await sandbox.files.writeFiles([{ path: '/workspace/large.bin', data: content(), mode: 600 }])
  const inside = (await run('sha256sum /workspace/large.bin')).slice(0, 64)
  const received = createHash('sha256')
  for await (const chunk of sandbox.files.readBytesStream('/workspace/large.bin')) received.update(chunk)
  return { sent: sent.digest('hex'), inside, received: received.digest('hex') }
}

function say(line: string): void {
  process.stderr.write(`${line}\n`)
}
