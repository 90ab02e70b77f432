// execd: the daemon inside each sandbox, and the supervisor of the user's entrypoint (lib/api/guest.ts).
//
//   node execd/main.ts [--exchange-dir DIR]
//
// It reads and deletes DIR/boot.json, listens, starts the entrypoint, writes ready.json, and at the end of the entrypoint
// or at TERM ends everything that runs, writes exit.json, and exits with the entrypoint's code.

import { chmodSync, chownSync, writeFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { constants } from 'node:os'
import { join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { type BootFile, EXCHANGE_DIR, type ExitFile, GUEST_DIR } from '../lib/api/guest.ts'
import { LIFECYCLE_VARIABLE } from '../lib/api/lifecycle-hooks.ts'
import { messageOf } from '../lib/errors.ts'
import { createLogger } from '../lib/log.ts'
import { untilAborted } from '../lib/stop.ts'
import { createApp } from './app.ts'
import { bootUser } from './boot-user.ts'
import { bootstrapArgv, runPreScript } from './bootstrap.ts'
import { Commands } from './command/commands.ts'
import { endAllOf } from './command/end.ts'
import { userEnvironment } from './command/environment.ts'
import { Journal } from './command/journal.ts'
import { isOfEarlierLife, type Life } from './command/marks.ts'
import { PipeStock, takePipes } from './command/pipes.ts'
import { type ProcessEnd, StartError, type UserIds } from './command/process.ts'
import { ProcessScanner } from './command/process-scanner.ts'
import { Spawner } from './command/spawner.ts'
import { parseBootFile } from './config.ts'
import { report, takeBootFile, tidy } from './exchange.ts'
import { createRouter } from './http/router.ts'
import { type Listening, listen } from './http/server.ts'
import { createSocketOpener } from './http/socket.ts'
import { type Holder, Keeper } from './keeper.ts'
import { catchLastErrors } from './last-resort.ts'
import { createFifoMaker, openLibc } from './libc.ts'
import type { Lifecycle } from './lifecycle/lifecycle.ts'
import { isExportWanted } from './metrics/export-wanted.ts'
import { decideOomScores } from './oom.ts'
import { hostProgram } from './runtime-dir.ts'
import { openState } from './state.ts'
import { type Entrypoint, superviseEntrypoint } from './supervise.ts'
import { createSurroundings } from './surroundings.ts'
import { pause } from './timer.ts'
import { createUsers, type Users } from './users.ts'

const ENTRYPOINT_LOG_BYTES = 8 << 20
/** How long commands have to end once the entrypoint has ended by itself. */
const LAST_GRACE_MS = 1000
/** How long the end waits for a collector to take the last of the telemetry. */
const LAST_EXPORT_MS = 1000
/** How long answers on their way have to arrive at the end. */
const ANSWER_GRACE_MS = 300
const RESTLESS_MS = 1000
/** How long a later life tries to get the port of the earlier one back. */
const PORT_PATIENCE_MS = 5000
/** What container runtimes say when they do not know. */
const UNKNOWN_EXIT_CODE = 255

const log = createLogger({ program: 'execd' })

process.umask(0o022)
// No exit file: it is started again.
catchLastErrors(log, () => process.exit(1))
main(readExchangeDir(process.argv.slice(2))).catch((error: unknown) => {
  log.error('execd ends', { error: error instanceof Error ? error.stack : messageOf(error) })
  process.exit(1)
})

async function main(dir: string): Promise<void> {
  // From the first moment on: told to stop while it comes back, it still ends in order what an earlier life has started.
  const stop = new AbortController()
  process.on('SIGTERM', () => stop.abort())
  process.on('SIGINT', () => stop.abort())
  if (process.env.EXECD_STOPPING) stop.abort()
  const state = openState(process.env.EXECD_STATE_FD, log)
  tidy(dir)
  // An execd that ends as soon as it has begun must not take the whole processor.
  if (state.isRestless) await pause(RESTLESS_MS)
  // All that needs no boot file is done while the sandbox's network is still being set up.
  const users = createUsers()
  const libc = openLibc()
  const pipes = new PipeStock({ dir: join(dir, 'pipes'), makeFifo: createFifoMaker(libc), log })
  const openSocket = createSocketOpener(libc)
  const earlierPipes = state.before.boot === undefined ? new Map<string, Socket>() : pipes.adopt()
  let boot: BootFile
  try {
    const keep = (text: string) => state.note({ boot: text })
    boot = parseBootFile(state.before.boot ?? (await takeBootFile(dir, keep, stop.signal)))
  } catch (error) {
    if (stop.signal.aborted) {
      const exitCode = 128 + constants.signals.SIGTERM
      report(dir, 'exit.json', { exitCode, message: messageOf(error) })
      return quit(exitCode, messageOf(error))
    }
    return refuse(dir, messageOf(error))
  }
  const { [LIFECYCLE_VARIABLE]: hooks } = boot.env
  // From here on nothing of the user's sees it, a script before the entrypoint included.
  delete boot.env[LIFECYCLE_VARIABLE]
  let user: UserIds
  try {
    user = bootUser(boot, users)
  } catch (error) {
    return refuseStart(dir, 'entrypoint_failed', error)
  }
  // Others than root reach the pipes of their own output and the file of their environment below it by name.
  if (user.uid !== 0) chmodSync(dir, 0o711)

  const entrypointLog = openEntrypointLog(dir)
  const env = state.before.env ?? (await bootEnvironment(dir, boot, { users, user, output: entrypointLog }))
  state.note({ env })
  const starter = {
    pipes,
    spawner: new Spawner(libc),
    ...decideOomScores(),
    setpriv: hostProgram('setpriv'),
    envProgram: hostProgram('env'),
  }
  const scanner = new ProcessScanner(log)
  const surroundings = createSurroundings({
    bootEnv: env,
    envFile: env.EXECD_ENVS ?? '',
    workdir: boot.workdir,
    user,
    users,
    starter,
    dir,
    vital: [GUEST_DIR, dir],
    life: state.life,
    log,
  })
  const commands = new Commands(surroundings, scanner)
  const entrypointPipes = takePipes(earlierPipes, state.before.entrypoint?.process?.pipes)
  if (state.life.number > 1) await restoreCommands(commands, earlierPipes)
  const app = createApp(surroundings, commands)

  const telemetry = isExportWanted(env)
    ? (await import('./metrics/telemetry.ts')).openTelemetry({ env, log })
    : undefined
  const { routes } = app
  const router = createRouter({ routes, token: boot.token, log, observe: telemetry?.observe })
  let listening: Listening
  try {
    listening = await listen(router, {
      host: boot.host,
      port: state.before.port ?? boot.port,
      patienceMs: state.before.port === undefined ? 0 : PORT_PATIENCE_MS,
      isShared: state.isFollowed,
      openSocket,
    })
  } catch (error) {
    return refuse(dir, messageOf(error))
  }
  state.note({ port: listening.port })
  const note = (holders: Holder[]) => state.note({ holders })
  const keeper = new Keeper({ holders: state.before.holders ?? [], pipes, libc, note, log })
  const { process: earlier } = state.before.entrypoint ?? {}
  if (earlier) keeper.find(earlier)
  if (state.life.number > 1) {
    keeper.hold(listening.socketFd, earlier)
    void endEarlierLives(scanner, state.life)
  }

  let lifecycle: Lifecycle | undefined
  try {
    if (hooks !== undefined) {
      const { openLifecycle } = await import('./lifecycle/lifecycle.ts')
      lifecycle = openLifecycle({ hooks, surroundings, scanner, state })
      await lifecycle.preStart(stop.signal)
    }
  } catch (error) {
    keeper.end()
    return refuseStart(dir, 'hook_failed', error)
  }
  let entrypoint: Entrypoint
  try {
    const argv = bootstrapArgv(boot.entrypoint, env, boot.workdir)
    entrypoint = await superviseEntrypoint(
      { argv, env, workdir: boot.workdir, user, log: entrypointLog },
      { starter, scanner, state, pipes: entrypointPipes, readEnd: () => keeper.readEnd() },
    )
  } catch (error) {
    keeper.end()
    return refuseStart(dir, 'entrypoint_failed', error)
  }
  report(dir, 'ready.json', { ok: true, port: listening.port })
  // The first life need not wait for it: only now there is anyone who could want the port.
  if (state.isFollowed && !earlier) keeper.hold(listening.socketFd, entrypoint.process)
  lifecycle?.startPeriodic()
  // Given at the start, this would cost Node its compiled code and the start 13 ms; now it costs nothing, and after a large
  // output execd holds 22 MB and not 59.
  setFlagsFromString('--optimize-for-size')

  await Promise.race([entrypoint.ended, untilAborted(stop.signal)])
  const graceMs = stop.signal.aborted ? boot.stopGraceMs : Math.min(LAST_GRACE_MS, boot.stopGraceMs)
  // What cannot be ended goes with the sandbox's first process, and is no reason not to say how the entrypoint ended.
  await Promise.allSettled([entrypoint.end(graceMs), app.endAll(graceMs), lifecycle?.endAll(graceMs)])
  const exit = exitOf(await entrypoint.ended)
  await listening.close(ANSWER_GRACE_MS)
  await telemetry?.close(LAST_EXPORT_MS)
  report(dir, 'exit.json', exit)
  keeper.end()
  return quit(exit.exitCode)
}

function openEntrypointLog(dir: string): Journal {
  // What an earlier life has written stays.
  const journal = Journal.restore({
    path: join(dir, 'entrypoint.log'),
    maxBytes: () => ENTRYPOINT_LOG_BYTES,
  })
  // Who reads it need not know whether there was any output yet.
  journal.toDisk()
  return journal
}

/** The complete environment of the entrypoint, and the file that clients add variables to. */
async function bootEnvironment(
  dir: string,
  boot: BootFile,
  { users, user, output }: { users: Users; user: UserIds; output: Journal },
): Promise<Record<string, string>> {
  const env = userEnvironment(boot.env, users.byUid(user.uid)?.home)
  if (env.EXECD_ENVS === undefined) {
    env.EXECD_ENVS = join(dir, 'env')
    writeFileSync(env.EXECD_ENVS, '', { mode: 0o600 })
    chownSync(env.EXECD_ENVS, user.uid, user.gid)
  }
  return runPreScript(env, { workdir: boot.workdir, user, output, log })
}

function exitOf({ exitCode, signal, isUnseen }: ProcessEnd): ExitFile {
  if (isUnseen)
    return {
      exitCode: UNKNOWN_EXIT_CODE,
      message: 'The exit status of the entrypoint is not known: execd was restarted while it ran',
    }
  return signal ? { exitCode: 128 + constants.signals[signal], signal } : { exitCode }
}

async function restoreCommands(commands: Commands, pipes: Map<string, Socket>): Promise<void> {
  try {
    await commands.restore(pipes)
  } catch (error) {
    // Better an execd that has forgotten its commands than none.
    log.error('cannot go on with the commands of an earlier execd', { error: messageOf(error) })
  }
}

/** Ends the sessions, terminals and kernels that an earlier life of execd has left: nobody can use them any more. */
async function endEarlierLives(scanner: ProcessScanner, life: Life): Promise<void> {
  const isDone = await endAllOf(
    { isMarked: ({ marks }) => isOfEarlierLife(marks, life) },
    { graceMs: LAST_GRACE_MS },
    scanner,
  ).catch(() => false)
  if (!isDone) log.warn('processes of an earlier execd do not end')
}

/** Ends what could not even begin. The exit file keeps init.sh from trying the same again. */
function refuse(dir: string, message: string): void {
  report(dir, 'ready.json', { ok: false, reason: 'listen_failed', message })
  report(dir, 'exit.json', { exitCode: 1, message })
  quit(1, message)
}

/** Ends a start whose hook or entrypoint has failed. Anything else that is thrown is a bug. */
function refuseStart(dir: string, reason: 'hook_failed' | 'entrypoint_failed', error: unknown): void {
  if (!(error instanceof StartError)) throw error
  report(dir, 'ready.json', { ok: false, reason, message: error.message })
  report(dir, 'exit.json', { exitCode: error.exitCode, message: error.message })
  quit(error.exitCode, error.message)
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
