// execd: the daemon inside each sandbox, and the supervisor of the user's entrypoint (design D3, lib/api/guest.ts).
//
//   node execd/main.ts [--exchange-dir DIR]
//
// It reads and deletes DIR/boot.json, listens, starts the entrypoint, writes ready.json, and at the end of the entrypoint
// or at TERM ends everything that runs, writes exit.json, and exits with the entrypoint's code.

import {
  chmodSync,
  chownSync,
  existsSync,
  readFileSync,
  renameSync,
  rmSync,
  watch,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:http'
import { constants } from 'node:os'
import { join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { type BootFile, EXCHANGE_DIR, type ExitFile, GUEST_DIR, type ReadyFile } from '../lib/api/guest.ts'
import { messageOf } from '../lib/errors.ts'
import { createLogger } from '../lib/log.ts'
import { untilAborted } from '../lib/stop.ts'
import { createApp } from './app.ts'
import { Commands } from './command/commands.ts'
import { userEnvironment } from './command/environment.ts'
import { Journal } from './command/journal.ts'
import { PipeStock } from './command/pipes.ts'
import { type ProcessStarter, StartError, type UserIds } from './command/process.ts'
import { parseBootFile } from './config.ts'
import { createRouter } from './http/router.ts'
import { createRandomId } from './random-id.ts'
import { hostProgram } from './runtime-dir.ts'
import { type Entrypoint, startEntrypoint } from './supervise.ts'
import { createSurroundings } from './surroundings.ts'
import { createUsers, type Users } from './users.ts'

const ENTRYPOINT_LOG_BYTES = 8 << 20
/** How long commands have to end once the entrypoint has ended by itself. */
const LAST_GRACE_MS = 1000
/** How long the runtime may take to connect the sandbox once execd runs. */
const BOOT_TIMEOUT_MS = 30_000

const log = createLogger({ program: 'execd' })

process.umask(0o022)
void main(readExchangeDir(process.argv.slice(2)))

async function main(dir: string): Promise<void> {
  const report = (name: string, value: ReadyFile | ExitFile) => writeWhole(join(dir, name), value)
  // All that needs no boot file is done while the sandbox's network is still being set up.
  const users = createUsers()
  const pipes = new PipeStock({ dir: join(dir, 'pipes'), mkfifo: hostProgram('mkfifo'), log })
  void pipes.fill()
  let boot: BootFile
  try {
    boot = await takeBootFile(dir)
  } catch (error) {
    report('ready.json', { ok: false, reason: 'listen_failed', message: messageOf(error) })
    return quit(1, messageOf(error))
  }
  const user = bootUser(boot, users)
  // Others than root reach the pipes of their own output and the file of their environment below it by name.
  if (user.uid !== 0) chmodSync(dir, 0o711)

  const starter = { pipes, ...oomScores(), setpriv: hostProgram('setpriv') }
  const bootEnv = userEnvironment(boot.env, users.byUid(user.uid)?.home)
  const envFile = bootEnv.EXECD_ENVS ?? join(dir, 'env')
  bootEnv.EXECD_ENVS = envFile
  if (envFile === join(dir, 'env')) {
    writeFileSync(envFile, '', { mode: 0o600 })
    chownSync(envFile, user.uid, user.gid)
  }
  const surroundings = createSurroundings({
    bootEnv,
    envFile,
    workdir: boot.workdir,
    user,
    users,
    starter,
    dir,
    vital: [GUEST_DIR, dir],
    log,
  })
  const commands = new Commands(surroundings)
  const app = createApp(surroundings, commands)
  const router = createRouter({ routes: app.routes, token: boot.token, log })
  const server = createServer(
    {
      keepAliveTimeout: 100_000,
      headersTimeout: 10_000,
      requestTimeout: 0,
      // Deletes and infos name many paths in one query.
      maxHeaderSize: 256 << 10,
      shouldUpgradeCallback: router.upgrades,
    },
    router.request,
  )
  server.on('upgrade', router.upgrade)
  const listening = new Promise<number>((resolve, reject) => {
    server.once('error', reject)
    server.listen(boot.port, boot.host, () => {
      const address = server.address()
      resolve(typeof address === 'object' && address ? address.port : boot.port)
    })
  })
  // The entrypoint's start may fail first; then nobody asks how the listening went.
  listening.catch(() => {})

  const stop = new AbortController()
  process.on('SIGTERM', () => stop.abort())
  process.on('SIGINT', () => stop.abort())

  const journal = new Journal({ path: join(dir, 'entrypoint.log'), maxBytes: ENTRYPOINT_LOG_BYTES })
  const starting = startEntrypoint(starter, {
    argv: boot.entrypoint,
    env: bootEnv,
    workdir: boot.workdir,
    user,
    log: journal,
  })
  starting.catch(() => {})
  // While the pipes are made: the first id loads the module behind it, and the first command should not wait for that.
  createRandomId()

  let port: number
  try {
    port = await listening
  } catch (error) {
    const message = `Cannot listen on ${boot.host}:${boot.port}: ${messageOf(error)}`
    await starting.then(
      (entrypoint) => entrypoint.end(0),
      () => {},
    )
    report('ready.json', { ok: false, reason: 'listen_failed', message })
    return quit(1, message)
  }
  let entrypoint: Entrypoint
  try {
    entrypoint = await starting
  } catch (error) {
    if (!(error instanceof StartError)) throw error
    report('ready.json', { ok: false, reason: 'entrypoint_failed', message: error.message })
    report('exit.json', { exitCode: error.exitCode, message: error.message })
    return quit(error.exitCode, error.message)
  }
  report('ready.json', { ok: true, port })
  // Given at the start, this would cost Node its compiled code and the start 13 ms; now it costs nothing, and after a large
  // output execd holds 22 MB and not 59.
  setFlagsFromString('--optimize-for-size')

  await Promise.race([entrypoint.ended, untilAborted(stop.signal)])
  const graceMs = stop.signal.aborted ? boot.stopGraceMs : Math.min(LAST_GRACE_MS, boot.stopGraceMs)
  await Promise.all([entrypoint.end(graceMs), app.endAll(graceMs)])
  const ended = await entrypoint.ended
  server.close()
  server.closeIdleConnections()
  const exitCode = ended.signal ? 128 + constants.signals[ended.signal] : ended.exitCode
  report('exit.json', { exitCode, ...(ended.signal ? { signal: ended.signal } : {}) })
  return quit(exitCode)
}

/** Who runs the entrypoint and every command that names nobody. */
function bootUser({ uid = 0, gid }: BootFile, users: Users): UserIds {
  const known = users.byUid(uid)
  return {
    uid,
    gid: gid ?? known?.gid ?? uid,
    groups: known && uid !== 0 ? users.supplementaryGroups(known.name) : [],
  }
}

/** Ends this process at once; what still runs in the sandbox goes with its first process. */
function quit(exitCode: number, message?: string): void {
  if (message !== undefined) log.error(message)
  process.exit(exitCode)
}

function readExchangeDir(args: string[]): string {
  if (args.length === 0) return EXCHANGE_DIR
  if (args.length === 2 && args[0] === '--exchange-dir' && args[1]) return args[1]
  log.error(`Unknown arguments "${args.join(' ')}": allowed is --exchange-dir DIR`)
  process.exit(2)
}

/** Takes the boot file as soon as the runtime has put it there: nothing of the user's may run before. */
async function takeBootFile(dir: string): Promise<BootFile> {
  const path = join(dir, 'boot.json')
  if (!existsSync(path)) await appears(dir, path)
  const text = readFileSync(path, 'utf8')
  rmSync(path)
  return parseBootFile(text)
}

function appears(dir: string, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const finish = (act: () => void) => {
      clearTimeout(timer)
      watcher.close()
      act()
    }
    const look = () => existsSync(path) && finish(resolve)
    const timer = setTimeout(
      () =>
        finish(() => reject(new Error(`There was no "${path}" within ${BOOT_TIMEOUT_MS / 1000} seconds`))),
      BOOT_TIMEOUT_MS,
    )
    const watcher = watch(dir, look)
    watcher.once('error', (error) => finish(() => reject(error)))
    // It may have come before the watch.
    look()
  })
}

function writeWhole(path: string, value: unknown): void {
  writeFileSync(`${path}.new`, JSON.stringify(value), { mode: 0o600 })
  renameSync(`${path}.new`, path)
}

/**
 * Keeps execd from being the first that the kernel ends when memory runs out. Lowering our own score takes a capability of
 * the host; raising our children's, and taking our own back to where it began, takes none.
 */
function oomScores(): Pick<ProcessStarter, 'oomScores'> {
  const path = '/proc/self/oom_score_adj'
  let own: number
  try {
    own = Number(readFileSync(path, 'utf8'))
    writeFileSync(path, String(own))
  } catch {
    // No /proc, or not ours to write: then nobody is preferred.
    return {}
  }
  if (own < 0) return { oomScores: { own, children: 0 } }
  try {
    writeFileSync(path, '-900')
    return { oomScores: { own: -900, children: own } }
  } catch {
    // Not permitted in most sandboxes.
    return { oomScores: { own, children: Math.min(own + 500, 1000) } }
  }
}
