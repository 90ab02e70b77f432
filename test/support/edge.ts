// The whole product as a user starts it: the launcher in a process of its own, on a free port, with a data directory of
// its own. By Node, or by Deno when OPENSANDBOX_TEST_PROGRAMS says so.

import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { spawn as spawnTerminal } from '@lydell/node-pty'
import { PATIENCE_MS } from './patience.ts'

const ROOT = join(import.meta.dirname, '../..')
const START_TIMEOUT_MS = 90_000
const STOP_TIMEOUT_MS = 60_000

export type Edge = {
  port: number
  /** `http://127.0.0.1:{port}` */
  url: string
  dataDir: string
  launcherPid: number
  /** Where the configuration lies. */
  configFile: string
  /** Everything that the programs have written so far. */
  output(): string
  /** Resolves with the output once it matches. */
  waitForOutput(pattern: RegExp, timeoutMs?: number): Promise<RegExpExecArray>
  /**
   * Stops the programs and resolves with the exit code. SIGINT goes to all of them at once, as a terminal sends it; other
   * signals to the launcher.
   */
  stop(signal?: NodeJS.Signals): Promise<number | null>
  /** Stops, ends all sandboxes, and removes the data directory. */
  dispose(): Promise<void>
}

export type EdgeOptions = {
  /** TOML put into the configuration file. */
  config?: string
  args?: string[]
  env?: Record<string, string>
  /** To start again where another one has stopped. */
  dataDir?: string
  port?: number
}

export const PROGRAMS_BY = process.env.OPENSANDBOX_TEST_PROGRAMS === 'deno' ? 'deno' : 'node'

const LAUNCHER =
  PROGRAMS_BY === 'deno'
    ? [join(ROOT, 'node_modules/.bin/deno'), 'run', '-A', join(ROOT, 'launcher/main.ts')]
    : [process.execPath, join(ROOT, 'launcher/main.ts')]

/** Starts the launcher and resolves once it says that it is ready. Throws with its output when it does not. */
export async function startEdge(options: EdgeOptions = {}): Promise<Edge> {
  const dataDir = options.dataDir ?? mkdtempSync(join(tmpdir(), 'edge-'))
  const port = options.port ?? (await freePort())
  const launcher = spawnLauncher({ ...options, dataDir, port })
  try {
    await launcher.waitFor(/OpenSandbox Edge is ready/, START_TIMEOUT_MS)
    await launcher.waitFor(/Stop with Ctrl-C/, START_TIMEOUT_MS)
  } catch (error) {
    await launcher.stop('SIGTERM')
    throw error
  }
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    dataDir,
    launcherPid: launcher.child.pid ?? 0,
    configFile: launcher.configFile,
    output: launcher.output,
    waitForOutput: launcher.waitFor,
    stop: launcher.stop,
    dispose: async () => {
      await launcher.stop('SIGTERM')
      const cleaner = spawnLauncher({
        ...options,
        dataDir,
        port,
        args: [...(options.args ?? []), '--stop-sandboxes'],
      })
      await cleaner.waitFor(/OpenSandbox Edge is ready/, START_TIMEOUT_MS).catch(() => undefined)
      await cleaner.stop('SIGTERM')
      rmSync(dataDir, { recursive: true, force: true, maxRetries: 3 })
    },
  }
}

export type Launcher = {
  child: ChildProcess
  configFile: string
  output(): string
  waitFor(pattern: RegExp, timeoutMs?: number): Promise<RegExpExecArray>
  stop(signal?: NodeJS.Signals): Promise<number | null>
  /** Resolves with the exit code when it ends by itself. */
  ended: Promise<number | null>
}

/** Starts the launcher without waiting for anything. */
export function spawnLauncher({ dataDir, port, config, args = [], env = {} }: EdgeOptions): Launcher {
  const configFile = join(mkdtempSync(join(tmpdir(), 'edge-config-')), 'edge.toml')
  writeFileSync(configFile, config ?? '')
  const flags = ['--config', configFile, ...args]
  if (port !== undefined) flags.push('--port', String(port))
  if (dataDir !== undefined) flags.push('--data-dir', dataDir)
  const child = spawn(LAUNCHER[0] ?? '', [...LAUNCHER.slice(1), ...flags], {
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true, // its own process group, which a terminal's signals go to
    env: { ...withoutOurs(process.env), HOME: '/nonexistent', ...env },
  })
  let text = ''
  const waiting = new Set<() => void>()
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk
      for (const check of waiting) check()
    })
  }
  const ended = new Promise<number | null>((resolve) => {
    child.on('close', (code) => {
      rmSync(join(configFile, '..'), { recursive: true, force: true })
      resolve(code)
      for (const check of waiting) check()
    })
  })
  let over = false
  void ended.then(() => {
    over = true
  })
  return {
    child,
    configFile,
    output: () => text,
    ended,
    waitFor: (pattern, timeoutMs = PATIENCE_MS) =>
      new Promise((resolve, reject) => {
        const finish = (act: () => void) => {
          clearTimeout(timer)
          waiting.delete(check)
          act()
        }
        const check = () => {
          const match = pattern.exec(text)
          if (match) finish(() => resolve(match))
          else if (over || child.exitCode !== null) {
            finish(() =>
              reject(new Error(`The programs ended with ${child.exitCode} before ${pattern}:\n${text}`)),
            )
          }
        }
        const timer = setTimeout(
          () => finish(() => reject(new Error(`No ${pattern} within ${timeoutMs} ms in:\n${text}`))),
          timeoutMs,
        )
        waiting.add(check)
        check()
      }),
    stop: async (signal = 'SIGTERM') => {
      if (child.pid && !over && signal === 'SIGINT') {
        process.kill(-child.pid, signal)
      } else child.kill(signal)
      const kill = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS)
      const code = await ended
      clearTimeout(kill)
      return code
    },
  }
}

export type OnTerminal = {
  pid: number
  /** Resolves once the output matches. */
  waitFor(pattern: RegExp): Promise<void>
  /** Closes the terminal, as somebody does who closes its window. */
  close(): void
}

/** Starts the launcher on a terminal of its own. */
export function spawnOnTerminal(
  { dataDir, port }: { dataDir: string; port: number },
  args: string[],
): OnTerminal {
  const [file = '', ...rest] = LAUNCHER
  const flags = ['--config', '/dev/null', '--port', String(port), '--data-dir', dataDir, ...args]
  const terminal = spawnTerminal(file, [...rest, ...flags], {
    env: { ...withoutOurs(process.env), HOME: '/nonexistent' },
  })
  let text = ''
  let check = () => {}
  let ended = false
  terminal.onData((chunk) => {
    text += chunk
    check()
  })
  terminal.onExit(() => {
    ended = true
    check()
  })
  return {
    pid: terminal.pid,
    // Its type does not tell that it has this.
    close: () => (terminal as unknown as { destroy(): void }).destroy(),
    waitFor: (pattern) =>
      new Promise((resolve, reject) => {
        check = () => {
          if (pattern.test(text)) resolve()
          else if (ended) reject(new Error(`The programs ended before ${pattern}:\n${text}`))
        }
        check()
      }),
  }
}

/** A port that was free a moment ago. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0))
    })
  })
}

/** Whether a process with this id runs; one that has ended and was not waited for yet does not. */
export function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false // there is no such process
  }
}

function withoutOurs(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(env).filter(([name]) => !/^(OPENSANDBOX_|OPEN_SANDBOX_|SANDBOX_|VITEST)/.test(name)),
  )
}
