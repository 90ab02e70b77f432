// Control in a process of its own, over a runtime of files (test/fixtures/control-with-files.ts), to be ended by signals.

import { type ChildProcess, fork } from 'node:child_process'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'

const PROGRAM = join(import.meta.dirname, '../fixtures/control-with-files.ts')

export type ControlProcess = {
  /** Of its API, with the version. */
  url: string
  /** Of its sandboxes. */
  sandboxes: string
  /** Resolves once it has ended. */
  kill(signal: NodeJS.Signals): Promise<void>
}

/** Starts control; a sandbox takes `createMs` to be made. Killed when the test ends. */
export async function startControlProcess(
  dataDir: string,
  createMs: number,
  flags: string[] = [],
): Promise<ControlProcess> {
  const child: ChildProcess = fork(PROGRAM, [dataDir, String(createMs), ...flags], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  onTestFinished(() => void child.kill('SIGKILL'))
  const port = await new Promise<number>((resolve, reject) => {
    child.once('message', (message) => resolve((message as { port: number }).port))
    child.once('exit', (code) => reject(new Error(`Control ended with ${code}`)))
  })
  const url = `http://127.0.0.1:${port}/v1`
  return {
    url,
    sandboxes: `${url}/sandboxes`,
    async kill(signal) {
      child.kill(signal)
      await ended
    },
  }
}
