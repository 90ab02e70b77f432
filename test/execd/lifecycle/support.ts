// What the tests of hooks in a real execd share.

import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import type { LifecycleHooks } from '../../../lib/api/lifecycle-hooks.ts'
import { type DaemonOptions, startDaemon, until } from '../daemon.ts'

export const sh = (line: string) => ['sh', '-c', line]

/** A directory for the sandbox to work in, known before it starts. */
export function makeWorkdir(): string {
  const dir = mkdtempSync(join(tmpdir(), 'hooks-test-'))
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

type Start = {
  workdir?: string
  port?: number
  entrypoint?: string[]
  stopGraceMs?: number
  env?: Record<string, string>
}

/** Starts execd with hooks. */
export function start(hooks: LifecycleHooks | string, boot: Start = {}, options: DaemonOptions = {}) {
  const text = typeof hooks === 'string' ? hooks : JSON.stringify(hooks)
  const env = { PATH: '/usr/bin:/bin', HOME: '/tmp', ...boot.env, OPENSANDBOX_LIFECYCLE: text }
  return startDaemon({ workdir: makeWorkdir(), ...boot, env }, options)
}

export const read = (dir: string, name: string) => {
  const path = join(dir, name)
  return existsSync(path) ? readFileSync(path, 'utf8') : ''
}
export const linesOf = (dir: string, name: string) => read(dir, name).split('\n').slice(0, -1)
export const numberIn = (dir: string, name: string) =>
  until(async () => Number(read(dir, name).trim()) || undefined, `a number in ${name}`)
