// The runtimes that are held to the contract, each opened as control opens it: with a real egress beside it, in a data directory of its
// own. A test file opens those that it tries once, for all of its cases.

import { type ChildProcess, execFile, fork } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { createEgressClient, type EgressClient } from '../../control/egress-client.ts'
import { openRuntime } from '../../control/runtime/open-runtime.ts'
import type { Runtime, RuntimeSpec } from '../../control/runtime/runtime.ts'
import { EXECD_TOKEN_HEADER } from '../../lib/api/execd.ts'
import { loadConfig } from '../../lib/config.ts'
import { createSandboxId, createToken } from '../../lib/id.ts'
import { type Instance, instanceOf, makeRunDir } from '../../lib/instance.ts'
import { createLogger } from '../../lib/log.ts'
import { startDocker, type TestDocker, whyNoDocker } from '../support/docker.ts'
import { debianTarball } from '../support/images.ts'

export const RUNTIME_NAMES = ['local', 'docker'] as const
export type RuntimeName = (typeof RUNTIME_NAMES)[number]

/** An image of both runtimes by the configuration, for what needs files of its own: a Debian with python3. */
export const DEBIAN = 'debian'

export type OpenedRuntime = {
  name: RuntimeName
  runtime: Runtime
  egress: EgressClient
  instance: Instance
  dataDir: string
  /** Present on Docker: the daemon behind it. */
  docker?: TestDocker
  /** Closes the runtime and opens it again, as a restart of control does; `runtime` is the new one from then on. */
  reopen(): Promise<void>
  /** Removes all sandboxes and everything that was opened. */
  dispose(): Promise<void>
}

/** Why a runtime cannot be tried on this machine; undefined when it can. */
export function whyNot(name: RuntimeName): string | undefined {
  if (process.getuid?.() !== 0) return 'runtimes need root'
  return name === 'docker' ? whyNoDocker() : undefined
}

export type OpenOptions = {
  /** TOML beside what the harness sets; sections other than `[runtime]`, `[runtime.images]` and `[docker]`. */
  config?: string
  /** Lines of `[runtime]`. */
  runtimeConfig?: string
  /** Lines of `[docker]`, which name the daemon themselves. */
  dockerConfig?: string
  /** Names of images beside `debian`. */
  images?: Record<string, string>
  /** A daemon that is there already; it is not disposed of. */
  docker?: TestDocker
  /** Added to the daemon.json of a daemon that is started. */
  daemonConfig?: Record<string, unknown>
  /** Has the daemon that is started make nobody of the root of containers. */
  mapsUsers?: boolean
  /** Has the daemon that is started be one that limits the disks of containers. */
  limitsDisks?: boolean
}

const EGRESS = join(import.meta.dirname, '../../egress/main.ts')
const never = () => AbortSignal.timeout(60_000)

export async function openTestRuntime(name: RuntimeName, options: OpenOptions = {}): Promise<OpenedRuntime> {
  const { daemonConfig = {}, mapsUsers = false, limitsDisks = false } = options
  const docker =
    name === 'docker'
      ? (options.docker ?? (await startDocker({ config: daemonConfig, mapsUsers, limitsDisks })))
      : undefined
  const dataDir = mkdtempSync(join(tmpdir(), `contract-${name}-`))
  const instance = instanceOf(dataDir)
  makeRunDir(instance)
  const child: ChildProcess = fork(EGRESS, ['--data-dir', dataDir], {
    env: { PATH: process.env.PATH, HOME: '/nonexistent', OPENSANDBOX_LOG_LEVEL: 'warn' },
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  const ended = new Promise((resolve) => child.once('exit', resolve))
  const egress = createEgressClient(instance)
  const isReady = egress.waitUntilReady(20_000, never())
  const { config } = loadConfig({
    env: { SANDBOX_CONFIG_PATH: '/c.toml' },
    args: ['--data-dir', dataDir, '--runtime', name],
    readFile: () =>
      `[runtime]\n${options.runtimeConfig ?? ''}\n[runtime.images]\n${tomlOf({ [DEBIAN]: debianTarball(), ...options.images })}\n` +
      `${docker ? `[docker]\n${options.dockerConfig ?? `host = ${JSON.stringify(docker.host)}`}\n` : ''}${options.config ?? ''}`,
  })
  let life = new AbortController()
  const open = async () => {
    life = new AbortController()
    const silent = createLogger({ program: 'control', write: () => {} })
    const { signal } = life
    return await openRuntime({ config, instance, dataDir, egress, proxyEnvironment: {}, log: silent, signal })
  }
  const endOthers = async () => {
    life.abort()
    child.kill('SIGTERM')
    await ended
    try {
      await promisify(execFile)(process.execPath, [EGRESS, '--data-dir', dataDir, '--teardown'])
    } finally {
      // An egress that does not work leaves no daemon running.
      if (docker && docker !== options.docker) await docker.dispose()
      rmSync(dataDir, { recursive: true, force: true })
      rmSync(instance.runDir, { recursive: true, force: true })
    }
  }
  const opened: OpenedRuntime = {
    name,
    runtime: await isReady.then(open).catch(async (error) => {
      await endOthers()
      throw error
    }),
    egress,
    instance,
    dataDir,
    ...(docker && { docker }),
    async reopen() {
      await opened.runtime.close()
      life.abort()
      opened.runtime = await open()
    },
    async dispose() {
      const all = await opened.runtime.list(never())
      await Promise.all(all.map(({ id }) => opened.runtime.remove(id, { graceMs: 0 }, never())))
      await opened.runtime.close()
      await endOthers()
    },
  }
  return opened
}

const tomlOf = (table: Record<string, string>) =>
  Object.entries(table)
    .map((pair) => pair.map((text) => JSON.stringify(text)).join(' = '))
    .join('\n')

/** A spec that asks for nothing in particular. */
export function specOf(change: Partial<RuntimeSpec> = {}): RuntimeSpec {
  return {
    id: createSandboxId(),
    image: { uri: 'host' },
    entrypoint: ['sleep', '600'],
    env: {},
    limits: { nanoCpus: 1e9, memoryBytes: 256 << 20 },
    mounts: [],
    allowNamespaces: false,
    execdToken: createToken(),
    egressToken: createToken(),
    ...change,
  }
}

/** Runs a command in a sandbox by its execd, as a client does, and gives what it printed and its exit code. */
export async function runIn(
  sandbox: { address?: string },
  { execdToken }: RuntimeSpec,
  command: string,
): Promise<{ stdout: string; exitCode: number }> {
  const answer = await fetch(`http://${sandbox.address}:44772/command`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', [EXECD_TOKEN_HEADER]: execdToken },
    body: JSON.stringify({ command }),
    signal: AbortSignal.timeout(30_000),
  })
  const text = await answer.text()
  if (!answer.ok) throw new Error(`execd answered ${answer.status}: ${text}`)
  const events = text
    .split('\n')
    .map((line) => line.replace(/^data: ?/, ''))
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as { type: string; text?: string; error?: { evalue?: string } })
  const failed = events.find(({ type }) => type === 'error')
  return {
    stdout: events
      .filter(({ type }) => type === 'stdout')
      .map((event) => event.text)
      .join('')
      .replace(/\n$/, ''),
    exitCode: failed ? Number(failed.error?.evalue ?? 1) : 0,
  }
}
