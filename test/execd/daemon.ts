// A real execd for tests, outside of a sandbox: its own directory, its own port, ended when the test ends.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, watch, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { BootFile, ExitFile, ReadyFile } from '../../lib/api/guest.ts'
import { PATIENCE_MS } from '../support/patience.ts'

const MAIN = join(import.meta.dirname, '../../execd/main.ts')
const INIT = join(import.meta.dirname, '../../execd/assets/init.sh')

export type Event = {
  type: string
  text?: string
  bytes_base64?: string
  execution_time?: number
  timestamp: number
  error?: { ename: string; evalue: string; traceback: string[] }
}

export type Daemon = {
  dir: string
  workdir: string
  url: string
  ready: ReadyFile
  process: ChildProcess
  call(path: string, init?: RequestInit): Promise<Response>
  /** Runs a command and returns all its events. */
  run(body: Record<string, unknown>): Promise<Event[]>
  /** The number of execd itself. */
  pid(): number
  /** Kills execd and resolves once its next life is ready. For a daemon that is restarted. */
  killAndAwait(): Promise<void>
  stop(): Promise<ExitFile>
  [Symbol.asyncDispose](): Promise<void>
}

export type DaemonOptions = {
  /** Started by init.sh, which starts it again when it is killed; `process` is then that of init.sh. */
  restarted?: boolean
  /** What starts it: a program with its first arguments. */
  wrapper?: string[]
  /** Where its directories are made. */
  parent?: string
}

export async function startDaemon(
  boot: Partial<BootFile> = {},
  { restarted = false, wrapper = [], parent = tmpdir() }: DaemonOptions = {},
): Promise<Daemon> {
  const dir = mkdtempSync(join(parent, 'execd-test-'))
  const exchange = join(dir, 'exchange')
  const workdir = join(dir, 'work')
  mkdirSync(exchange)
  const file: BootFile = {
    token: 'secret-token',
    host: '127.0.0.1',
    port: 0,
    entrypoint: ['sleep', '1000'],
    env: { PATH: '/usr/bin:/bin', HOME: dir, FROM_BOOT: 'yes' },
    workdir,
    stopGraceMs: 2000,
    ...boot,
  }
  writeFileSync(join(exchange, 'boot.json'), JSON.stringify(file))
  const execd = [process.execPath, '--max-semi-space-size=1', MAIN, '--exchange-dir', exchange]
  const command = [...wrapper, ...(restarted ? ['sh', INIT, exchange] : []), ...execd]
  const child = spawn(command[0] ?? '', command.slice(1), {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { PATH: '/usr/bin:/bin', NODE_SECRET_OF_EXECD: 'hidden' },
  })
  child.stderr?.resume()
  const exited = once(child, 'exit')
  const ready = (await readWhenThere(exchange, 'ready.json', exited)) as ReadyFile
  const url = `http://127.0.0.1:${ready.ok ? ready.port : 0}`
  const call = (path: string, init: RequestInit = {}) =>
    fetch(url + path, {
      ...init,
      headers: { 'X-EXECD-ACCESS-TOKEN': file.token, ...(init.headers as Record<string, string>) },
    })
  const stop = async (): Promise<ExitFile> => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM')
    await exited
    return JSON.parse(readFileSync(join(exchange, 'exit.json'), 'utf8')) as ExitFile
  }
  const pid = (): number => {
    if (!restarted) return child.pid ?? 0
    const children = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8')
    return Number(children.trim().split(' ')[0])
  }
  return {
    dir: exchange,
    pid,
    killAndAwait: async () => {
      const before = pid()
      process.kill(before, 'SIGKILL')
      await until(
        async () => pid() !== before && pid() !== 0 && existsSync(join(exchange, 'ready.json')),
        'the next life of execd',
      )
      // The ready file may still be that of the life before: only an answer tells.
      await until(
        async () => (await call('/ping').catch(() => undefined))?.status === 200,
        'execd to answer again',
      )
    },
    workdir,
    url,
    ready,
    process: child,
    call,
    stop,
    run: async (body) => {
      const response = await call('/command', { method: 'POST', body: JSON.stringify(body) })
      return parseEvents(await response.text())
    },
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM')
      await exited
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

export function parseEvents(text: string): Event[] {
  return text
    .split('\n\n')
    .filter((frame) => frame !== '')
    .map((frame) => JSON.parse(frame) as Event)
}

/** What a stream wrote, put together again. */
export function outputOf(events: Event[], type: 'stdout' | 'stderr' = 'stdout'): string {
  return events
    .filter((event) => event.type === type)
    .map((event) => event.text)
    .join('')
}

export function idOf(events: Event[]): string {
  return events.find((event) => event.type === 'init')?.text ?? ''
}

/** Asks again at every turn until `check` gives something; for states that nobody announces. */
export async function until<T>(check: () => Promise<T | undefined | false>, what: string): Promise<T> {
  const deadline = Date.now() + PATIENCE_MS
  while (Date.now() < deadline) {
    const value = await check()
    if (value) return value
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  throw new Error(`Waited ${PATIENCE_MS} ms in vain for ${what}`)
}

/**
 * Tries with more and more time until `attempt` gives something. What must have come so far before it is ended for its time comes so far
 * in no time that is long enough on every machine.
 */
export async function withEnoughTime<T>(
  attempt: (timeoutMs: number) => Promise<T | undefined | false>,
  what: string,
  fromMs = 150,
): Promise<T> {
  for (let timeoutMs = fromMs; timeoutMs < PATIENCE_MS; timeoutMs *= 5) {
    const value = await attempt(timeoutMs)
    if (value) return value
  }
  throw new Error(`No time was enough for ${what}`)
}

/** Without the pings after the first: how often a stream says that it is alive depends on how long it takes. */
export function withOnePing<T extends Event>(events: T[]): T[] {
  const first = events.findIndex(({ type }) => type === 'ping')
  return events.filter(({ type }, at) => type !== 'ping' || at === first)
}

async function readWhenThere(dir: string, name: string, exited: Promise<unknown>): Promise<unknown> {
  const path = join(dir, name)
  const appeared = new Promise<void>((resolve) => {
    const watcher = watch(dir, () => {
      if (!existsSync(path)) return
      watcher.close()
      resolve()
    })
    if (existsSync(path)) {
      watcher.close()
      resolve()
    }
    void exited.then(() => watcher.close())
  })
  await Promise.race([appeared, exited])
  return JSON.parse(readFileSync(path, 'utf8'))
}
