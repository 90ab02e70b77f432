// Runs egress, control and gateway as three child processes: starts them in the order in which they need each other, stops
// them in reverse, and starts one again that dies.

import { createServer } from 'node:net'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { messageOf, systemCodeOf } from '../lib/errors.ts'
import { instanceOf } from '../lib/instance.ts'
import { openLock } from '../lib/lock.ts'
import { createLogger } from '../lib/log.ts'
import { hasTerminal, loadConfiguration, makeDataDir, readConfiguration, refuse } from '../lib/program.ts'
import { createReload } from '../lib/reload.ts'
import { removeRunDir } from '../lib/run-dir.ts'
import { stopSignal, untilAborted } from '../lib/stop.ts'
import { Program } from './supervise.ts'
import { formatWelcome } from './welcome.ts'

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..')
const STOP_SANDBOXES = '--stop-sandboxes'
/** What start.mjs has taken; named here, so that somebody who mistypes one is told of them. */
const TAKEN_BEFORE = ['--no-install', '--help']

const args = process.argv.slice(2)
const sources = { env: process.env, args, ownFlags: [STOP_SANDBOXES, ...TAKEN_BEFORE] }
const { config, warnings, flags, settings } = readConfiguration(sources)
// Who asks this file instead is not to find everything running.
if (flags.has('--help')) refuse('"npm start -- --help" lists the flags')
let { level } = config.log
const log = createLogger({ program: 'launcher', level: () => level })
for (const warning of warnings) log.warn(warning)

const { dataDir, host, port } = config.server
const { front } = config
makeDataDir(dataDir)
using lock = openLock(join(dataDir, 'launcher.lock'))
if (!lock)
  refuse(
    `Already running with the data directory "${dataDir}": stop that one, or choose another with --data-dir`,
  )
const taken = await whyPortIsTaken(host, port)
if (taken) refuse(taken)

const readAgain = createReload({
  settings,
  load: () => loadConfiguration(sources),
  reloadable: ['log.level'],
  apply: (changed) => {
    level = changed.log.level
  },
})
const stop = stopSignal(log, {
  hasTerminal: hasTerminal(),
  reload: () => {
    void readAgain()
    for (const each of programs) each.passOn('SIGHUP')
  },
})
const childArgs = args.filter((arg) => arg !== STOP_SANDBOXES && !TAKEN_BEFORE.includes(arg))
const program = (name: string, extra: string[] = []) =>
  new Program({
    name,
    file: join(ROOT, name, 'main.ts'),
    args: [...childArgs, ...extra],
    env: process.env,
    log,
    stopTimeoutMs: extra.includes(STOP_SANDBOXES)
      ? 60_000
      : 15_000 + (name === 'gateway' ? front.drainMs + front.drainNoticeMs : 0),
  })
const programs = [
  program('egress'),
  program('control', flags.has(STOP_SANDBOXES) ? [STOP_SANDBOXES] : []),
  ...Array.from({ length: front.processes }, () => program('gateway')),
]

const started: Program[] = []
let exitCode = 0
try {
  for (const each of programs) {
    started.push(each)
    await each.start(stop)
  }
  process.stdout.write(
    formatWelcome(config, {
      keepsSandboxes: !flags.has(STOP_SANDBOXES),
      keyInEnvironment: Boolean(process.env.OPENSANDBOX_SERVER_API_KEY),
    }),
  )
  await untilAborted(stop)
} catch (error) {
  if (!stop.aborted) {
    exitCode = 1
    console.error(`Cannot start: ${messageOf(error)}`)
  }
}
// Gateways let what is under way end, all at the same time; the others are needed until then.
await Promise.all(started.splice(2).map((each) => each.stop()))
for (const each of started.reverse()) await each.stop()
await removeRunDir(instanceOf(dataDir)).catch((error) =>
  log.warn('cannot remove the run directory', { error }),
)
process.exit(exitCode)

/** Binds the port for a moment, so that the reason is told before anything has been started. */
function whyPortIsTaken(host: string, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const probe = createServer()
    probe.once('error', (error) => {
      const code = systemCodeOf(error)
      if (code === 'EADDRINUSE')
        resolve(`Port ${port} on ${host} is in use: stop what uses it, or choose another with --port`)
      else resolve(`Cannot listen on ${host} port ${port}: ${error.message}`)
    })
    probe.listen({ host, port }, () => probe.close(() => resolve(undefined)))
  })
}
