// The part of a create that is the same wherever sandboxes run: side by side the first process (execd starts and waits) with its network,
// and egress's rules; only then execd gets its boot file, starts the user's entrypoint, and says that it is ready.

import { preStartTimeoutMs } from '../../lib/api/lifecycle-hooks.ts'
import type { ProgramStarter } from '../../lib/program-starter.ts'
import { settleAll } from '../async.ts'
import { makeBootFile, type RunConfig } from './boot-file.ts'
import { FirstProcess } from './first-process.ts'
import { handOver } from './hand-over.ts'
import { connectSandbox, type Network6 } from './network.ts'
import type { RuntimeOptions } from './open-runtime.ts'
import type { PhaseWatch } from './phase-watch.ts'
import type { RuntimeSpec } from './runtime.ts'
import { type NamedProcess, type SandboxPaths, type SandboxRecord, writeRecord } from './sandbox-record.ts'
import { READY_TIMEOUT_MS, untilReady } from './until-ready.ts'

export type BringUpParts = Pick<RuntimeOptions, 'config' | 'log'> & {
  gateway: string
  ipv6?: Network6
  programs: ProgramStarter
}

export type Begun = {
  spec: RuntimeSpec
  record: SandboxRecord
  paths: SandboxPaths
  /** Who the sandbox's root is on this machine. */
  owner: { uid: number; gid: number }
  /** What the image, and the operator, say about running it. */
  given: RunConfig
  watch: PhaseWatch
  /** That egress's rules are in the kernel (register.ts). */
  registered: Promise<void>
  /** Has the first process run. It runs nothing of the user's before it has its boot file. */
  start(): Promise<NamedProcess>
  /** Whether the kernel has ended processes of it for memory. */
  wasOutOfMemory(): boolean | Promise<boolean>
}

/** Brings up a sandbox whose files are there, as far as the entrypoint of its user, and notes in its record that it is complete. */
export async function bringUp(
  { config, gateway, ipv6, programs, log }: BringUpParts,
  { spec, record, paths, owner, given, watch, registered, start, wasOutOfMemory }: Begun,
  signal: AbortSignal,
): Promise<void> {
  const { id } = spec
  const started = async () => {
    record.init = await start()
    watch.mark('start')
    // execd starts while the network is made.
    await settleAll([
      writeRecord(paths.record, record),
      connectSandbox(
        { ...record, gateway, ...(ipv6 && { ipv6 }), run: programs.run },
        record.init.pid,
        signal,
      ),
    ])
  }
  // Neither is left running when the other fails: what comes after a failure must not race with its clean-up.
  await settleAll([registered, started()])
  watch.mark('network')
  const boot = makeBootFile(spec, given, config.runtime.stopGraceSeconds * 1000)
  await handOver(paths.exchange, boot, owner)
  using first = new FirstProcess(record)
  await untilReady(
    {
      exchange: paths.exchange,
      timeoutMs: READY_TIMEOUT_MS + preStartTimeoutMs(spec.env),
      isRunning: () => first.isRunning,
      wasOutOfMemory,
    },
    signal,
  )
  watch.mark('ready')
  record.complete = true
  await writeRecord(paths.record, record)
  log.debug('sandbox made', { sandbox: id, ...watch.times() })
}
