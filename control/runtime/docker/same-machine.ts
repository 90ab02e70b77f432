// Whether a daemon runs on this machine, which no address proves: a socket may be the end of a tunnel, and a TCP port of another machine's
// may be this one's. So it is asked to make something under a name that nobody can know, and this machine looks whether it is there.
// That it is the same kernel, too, each create shows by the process that it finds (make-container.ts).

import { lstat } from 'node:fs/promises'
import { release } from 'node:os'
import { join } from 'node:path'
import { createToken } from '../../../lib/id.ts'
import type { DaemonInfo } from './checks.ts'
import { type Engine, isMissing } from './engine.ts'
import { INSTANCE_LABEL } from './ownership.ts'

const PROBE_LABEL = 'opensandbox.io/probe'
/** The files of the machine, for a control that runs in a container and has its processes alone. */
const MACHINE = '/proc/1/root'

/** Resolves to why sandboxes of a daemon would not be on this machine; undefined when they are. */
export async function whyElsewhere(
  engine: Engine,
  info: DaemonInfo,
  { key }: { key: string },
): Promise<string | undefined> {
  if (info.KernelVersion !== undefined && info.KernelVersion !== release())
    return `it runs on the kernel ${info.KernelVersion}, and this machine on ${release()}`
  await removeProbes(engine, key)
  const name = `opensandbox-${key}-probe-${createToken().slice(0, 16)}`
  await engine.call((abortSignal) =>
    engine.docker.createVolume({
      Name: name,
      Driver: 'local',
      Labels: { [INSTANCE_LABEL]: key, [PROBE_LABEL]: 'yes' },
      abortSignal,
    }),
  )
  try {
    const { Mountpoint } = await engine.call((abortSignal) =>
      engine.docker.getVolume(name).inspect({ abortSignal } as object),
    )
    const isNamed = Mountpoint.split('/').includes(name)
    return isNamed && ((await isDirectory(Mountpoint)) || (await isDirectory(join(MACHINE, Mountpoint))))
      ? undefined
      : `what it makes at "${Mountpoint.slice(0, 200)}" is not here`
  } finally {
    await removeVolume(engine, name)
  }
}

async function isDirectory(path: string): Promise<boolean> {
  const found = await lstat(path).catch(() => undefined)
  return found?.isDirectory() ?? false
}

/** What a program that was killed while it asked has left. */
async function removeProbes(engine: Engine, key: string): Promise<void> {
  const label = [`${INSTANCE_LABEL}=${key}`, `${PROBE_LABEL}=yes`]
  const { Volumes } = await engine.call((abortSignal) =>
    engine.docker.listVolumes({ filters: { label }, abortSignal } as object),
  )
  for (const { Name } of Volumes ?? [])
    if (Name.startsWith(`opensandbox-${key}-probe-`)) await removeVolume(engine, Name)
}

async function removeVolume({ docker, call }: Engine, name: string): Promise<void> {
  try {
    await call((abortSignal) => docker.getVolume(name).remove({ abortSignal }))
  } catch (error) {
    if (!isMissing(error)) throw error
  }
}
