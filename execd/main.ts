// execd: the daemon inside each sandbox, and the supervisor of the user's entrypoint (design D3, lib/api/guest.ts).
//
//   node execd/main.ts [--exchange-dir DIR]
//
// It reads and deletes DIR/boot.json, listens, starts the entrypoint, writes ready.json, and at the end of the entrypoint
// or at TERM ends everything that runs, writes exit.json, and exits with the entrypoint's code.

import { chmodSync, chownSync, writeFileSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { type BootFile, EXCHANGE_DIR, GUEST_DIR } from '../lib/api/guest.ts'
import { messageOf } from '../lib/errors.ts'
import { createLogger } from '../lib/log.ts'
import { untilAborted } from '../lib/stop.ts'
import { createApp } from './app.ts'
import { Commands } from './command/commands.ts'
import { userEnvironment } from './command/environment.ts'
import { Journal } from './command/journal.ts'
import { PipeStock } from './command/pipes.ts'
import { StartError, type UserIds } from './command/process.ts'
import { parseBootFile } from './config.ts'
import { report, takeBootFile } from './exchange.ts'
import { createRouter } from './http/router.ts'
import { type Listening, listen } from './http/server.ts'
import { decideOomScores } from './oom.ts'
import { createRandomId } from './random-id.ts'
import { hostProgram } from './runtime-dir.ts'
import { type Entrypoint, startEntrypoint } from './supervise.ts'
import { createSurroundings } from './surroundings.ts'
import { createUsers, type Users } from './users.ts'

const ENTRYPOINT_LOG_BYTES = 8 << 20
/** How long commands have to end once the entrypoint has ended by itself. */
const LAST_GRACE_MS = 1000

const log = createLogger({ program: 'execd' })

process.umask(0o022)
void main(readExchangeDir(process.argv.slice(2)))

async function main(dir: string): Promise<void> {
  // All that needs no boot file is done while the sandbox's network is still being set up.
  const users = createUsers()
  const pipes = new PipeStock({ dir: join(dir, 'pipes'), mkfifo: hostProgram('mkfifo'), log })
  void pipes.fill()
  let boot: BootFile
  try {
    boot = parseBootFile(await takeBootFile(dir))
  } catch (error) {
    return refuse(dir, messageOf(error))
  }
  const user = bootUser(boot, users)
  // Others than root reach the pipes of their own output and the file of their environment below it by name.
  if (user.uid !== 0) chmodSync(dir, 0o711)

  const starter = { pipes, ...decideOomScores(), setpriv: hostProgram('setpriv') }
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
  const app = createApp(surroundings, new Commands(surroundings))
  const stop = new AbortController()
  process.on('SIGTERM', () => stop.abort())
  process.on('SIGINT', () => stop.abort())

  let listening: Listening
  try {
    listening = await listen(createRouter({ routes: app.routes, token: boot.token, log }), boot)
  } catch (error) {
    return refuse(dir, messageOf(error))
  }
  // The first id loads the module behind it, and the first command should not wait for that.
  createRandomId()

  const entrypointLog = new Journal({
    path: join(dir, 'entrypoint.log'),
    maxBytes: () => ENTRYPOINT_LOG_BYTES,
  })
  // Who reads it need not know whether there was any output yet.
  entrypointLog.toDisk()
  let entrypoint: Entrypoint
  try {
    entrypoint = await startEntrypoint(starter, {
      argv: boot.entrypoint,
      env: bootEnv,
      workdir: boot.workdir,
      user,
      log: entrypointLog,
    })
  } catch (error) {
    if (!(error instanceof StartError)) throw error
    report(dir, 'ready.json', { ok: false, reason: 'entrypoint_failed', message: error.message })
    report(dir, 'exit.json', { exitCode: error.exitCode, message: error.message })
    return quit(error.exitCode, error.message)
  }
  report(dir, 'ready.json', { ok: true, port: listening.port })
  // Given at the start, this would cost Node its compiled code and the start 13 ms; now it costs nothing, and after a large
  // output execd holds 22 MB and not 59.
  setFlagsFromString('--optimize-for-size')

  await Promise.race([entrypoint.ended, untilAborted(stop.signal)])
  const graceMs = stop.signal.aborted ? boot.stopGraceMs : Math.min(LAST_GRACE_MS, boot.stopGraceMs)
  await Promise.all([entrypoint.end(graceMs), app.endAll(graceMs)])
  const ended = await entrypoint.ended
  listening.close()
  const exitCode = ended.signal ? 128 + constants.signals[ended.signal] : ended.exitCode
  report(dir, 'exit.json', { exitCode, ...(ended.signal ? { signal: ended.signal } : {}) })
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

/** Ends what could not even begin. The exit file keeps init.sh from trying the same again. */
function refuse(dir: string, message: string): void {
  report(dir, 'ready.json', { ok: false, reason: 'listen_failed', message })
  report(dir, 'exit.json', { exitCode: 1, message })
  quit(1, message)
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
