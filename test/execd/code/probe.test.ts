// The probe of the code-interpreter clients, by the command that they send.

import { createServer } from 'node:net'
import { expect, test } from 'vitest'
import { freePort } from '../../support/edge.ts'
import { startDaemon } from '../daemon.ts'

const PROBE = `bash -c 'exec 3<>/dev/tcp/127.0.0.1/\${JUPYTER_PORT:-44771}' && exit 0 || exit 1`
const PATH = '/usr/bin:/bin'

test('where our own kernels run code, the probe of a client says so', async () => {
  await using execd = await startDaemon()
  expect((await execd.run({ command: PROBE })).at(-1)?.type).toBe('execution_complete')
})

test('no other command hears of a port of Jupyter', async () => {
  await using execd = await startDaemon()
  const events = await execd.run({ command: 'echo "[$JUPYTER_PORT]"' })
  expect(events.find(({ type }) => type === 'stdout')?.text).toBe('[]\n')
})

test('where a Jupyter is meant to be, the probe asks for that', async () => {
  const port = await freePort()
  await using execd = await startDaemon({
    env: { PATH, JUPYTER_HOST: `http://127.0.0.1:${port}`, JUPYTER_PORT: String(port) },
  })
  expect((await execd.run({ command: PROBE })).at(-1)?.error?.evalue).toBe('1')
  const server = createServer((socket) => socket.end())
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  expect((await execd.run({ command: PROBE })).at(-1)?.type).toBe('execution_complete')
  server.close()
})

test('a port that the request or the environment file names is the one that is asked for', async () => {
  const envs = { JUPYTER_PORT: String(await freePort()) }
  await using execd = await startDaemon()
  expect((await execd.run({ command: PROBE, envs })).at(-1)?.error?.evalue).toBe('1')
  await execd.run({ command: `echo JUPYTER_PORT=${envs.JUPYTER_PORT} >> "$EXECD_ENVS"` })
  expect((await execd.run({ command: PROBE })).at(-1)?.error?.evalue).toBe('1')
})
