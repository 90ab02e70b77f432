// Commands in a real sandbox: root there may not look into the processes of other users, and the number of processes is limited.

import type { Sandbox } from '@alibaba-group/opensandbox'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { CommandStatus } from '../../lib/api/execd.ts'
import { idOf, outputOf, until } from '../execd/daemon.ts'
import { type Edge, startEdge } from '../support/edge.ts'
import { type Execd, execdOf } from '../support/execd.ts'
import { createSandbox } from '../support/sandbox.ts'

let edge: Edge
let sandbox: Sandbox
let execd: Execd

beforeAll(async () => {
  edge = await startEdge({ config: '[runtime]\npids_limit = 256\n' })
  sandbox = await createSandbox(edge)
  execd = await execdOf(edge, sandbox.id)
}, 180_000)
afterAll(async () => {
  await sandbox?.kill()
  await sandbox?.close()
  await edge?.dispose()
}, 120_000)

const say = async (command: string, more: object = {}) =>
  outputOf(await execd.events('/command', { command, ...more })).trim()
const interrupt = async (id: string) => (await execd.call(`/command?id=${id}`, { method: 'DELETE' })).status
const status = async (id: string) =>
  (await (await execd.call(`/command/status/${id}`)).json()) as CommandStatus

const DAEMONIZE = `sh -c 'setsid sh -c "\\"\\$@\\" & exit 0" sh "$@"' sh`

test.each([
  ['a daemon of root', {}, `${DAEMONIZE} sleep 4101`, 4101],
  ['a daemon of another user', { uid: 1000, cwd: '/tmp' }, `${DAEMONIZE} sleep 4102`, 4102],
  [
    'a daemon that has become another user',
    {},
    `${DAEMONIZE} setpriv --reuid=1234 --regid=1234 --clear-groups sleep 4103`,
    4103,
  ],
])('an interrupt reaches %s', async (_what, more, daemon, seconds) => {
  const left = () => say(`pgrep -xf 'sleep ${seconds}' || true`)
  const stranger = await say(`setsid sleep ${seconds}9 > /dev/null 2>&1 & echo $!`)
  const id = idOf(
    await execd.events('/command', { command: `${daemon}; exec sleep 4000`, background: true, ...more }),
  )
  await until(left, 'the daemon')
  expect(await interrupt(id)).toBe(200)
  expect(await left()).toBe('')
  expect(await say(`kill -0 ${stranger} && echo alive`)).toBe('alive')
})

test('a fork bomb stays within the limit, execd answers, and an interrupt ends all of it', async () => {
  const id = idOf(
    await execd.events('/command', {
      command: 'bomb() { bomb | bomb & }; bomb; exec sleep 4000',
      background: true,
    }),
  )
  // Once the limit is reached nothing can be started, which is told in words.
  const refused = await until(async () => {
    const events = await execd.events('/command', { argv: ['true'] })
    return events.find(({ error }) => error?.evalue.includes('limit of processes'))
  }, 'the limit')
  expect(refused.error?.traceback[0]).toContain('Cannot execute')
  expect((await execd.call('/ping')).status).toBe(200)
  expect(await status(id)).toMatchObject({ running: true })
  expect(await interrupt(id)).toBe(200)
  expect(await status(id)).toMatchObject({ running: false })
  expect(await say('echo back')).toBe('back')
}, 60_000)
