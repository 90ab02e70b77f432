// Keeps what V8 makes of execd's code. To compile it takes 8 ms of each start, and what V8 has once compiled it can write down and
// read again. It compiles a function when that is called first; so execd is run here as in a sandbox, once, and used a little.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { BootFile, ReadyFile } from '../../lib/api/guest.ts'
import { EXECD_TOKEN_HEADER } from '../../lib/api/lifecycle.ts'
import { createToken } from '../../lib/id.ts'
import { COMPILED_FILE } from './start-bundle.ts'
import { waitForJson } from './watch-file.ts'

const TIMEOUT_MS = 15_000
const RECORDER = join(import.meta.dirname, 'compiled-recorder.cjs')

/**
 * Writes the compiled code of the execd in `dir`. `node` is the command that runs Node there, with the flags that it has in sandboxes.
 * Rejects when execd cannot be run outside of one; it works without, too.
 */
export async function keepCompiled(dir: string, node: string[], given: AbortSignal): Promise<void> {
  const signal = AbortSignal.any([given, AbortSignal.timeout(TIMEOUT_MS)])
  const made = join(dir, COMPILED_FILE)
  const folder = await mkdtemp(join(tmpdir(), 'execd-'))
  let execd: ChildProcess | undefined
  try {
    const boot: BootFile = {
      token: createToken(),
      host: '127.0.0.1',
      port: 0,
      entrypoint: ['/bin/sleep', String(TIMEOUT_MS / 1000)],
      env: {},
      workdir: folder,
      stopGraceMs: 1000,
    }
    await writeFile(join(folder, 'boot.json'), JSON.stringify(boot), { mode: 0o600 })
    const [program = '', ...args] = [...node, '--require', RECORDER, join(dir, 'main.js')]
    execd = spawn(program, [...args, '--exchange-dir', folder], {
      stdio: 'ignore',
      env: { PATH: '/usr/bin:/bin', TZ: 'UTC', COMPILED_FILE: made },
      signal,
      killSignal: 'SIGKILL',
    })
    const over = new AbortController()
    const ended = once(execd, 'exit').then(
      ([code]) => over.abort(new Error(`execd ended with ${code}`)),
      (error: unknown) => over.abort(error),
    )
    const ready = await waitForJson<ReadyFile>(folder, 'ready.json', AbortSignal.any([signal, over.signal]))
    if (!ready.ok) throw new Error(ready.message)
    await useALittle(`http://127.0.0.1:${ready.port}`, boot.token, signal)
    execd.kill('SIGTERM')
    await ended
    signal.throwIfAborted()
    await chmod(made, 0o644)
  } catch (error) {
    // Half of it must not be taken for all.
    await rm(made, { force: true })
    throw error
  } finally {
    execd?.kill('SIGKILL')
    await rm(folder, { recursive: true, force: true })
  }
}

/** What a client does first. */
async function useALittle(url: string, token: string, signal: AbortSignal): Promise<void> {
  const headers = { [EXECD_TOKEN_HEADER]: token, 'content-type': 'application/json' }
  const ask = async (path: string, init: RequestInit = {}) => {
    const answer = await fetch(url + path, { ...init, headers, signal })
    const text = await answer.text()
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${text}`)
  }
  await ask('/ping')
  for (const command of ['true', 'echo out; echo err >&2'])
    await ask('/command', { method: 'POST', body: JSON.stringify({ command }) })
}
