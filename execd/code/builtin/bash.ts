// Kernels of bash: a session's shell (execd/session/), whose runs are the cells.

import { join } from 'node:path'
import type { StreamError } from '../../../lib/api/execd.ts'
import { endAllOf } from '../../command/end.ts'
import { FAMILY_VARIABLE, ownedEnvironment } from '../../command/marks.ts'
import { ProcessScanner, type SeenProcess } from '../../command/process-scanner.ts'
import { findProgram } from '../../command/program.ts'
import { createRandomId } from '../../random-id.ts'
import { SessionPipes } from '../../session/pipes.ts'
import { Session } from '../../session/session.ts'
import type { Surroundings } from '../../surroundings.ts'
import { type CellSink, type Kernel, KernelDied, type KernelSpec } from '../engine.ts'
import { CellOutput } from './cell-output.ts'
import type { KernelStarter } from './engine.ts'

export function bashStarter(surroundings: Surroundings): KernelStarter {
  const dir = join(surroundings.dir, 'code')
  const pipes = new SessionPipes({ dir, starter: surroundings.starter })
  const scanner = new ProcessScanner(surroundings.log)
  const find = ({ PATH }: Record<string, string>) => findProgram('bash', PATH, surroundings.workdir)

  return {
    refusal: async (env) => (find(env).ok ? undefined : `there is no "bash" in PATH "${env.PATH ?? ''}"`),
    start: async ({ cwd, env }: KernelSpec) => {
      const program = find(env)
      if (!program.ok) throw new Error(`Cannot start the bash kernel: ${program.message}`)
      const id = createRandomId()
      const marks = ownedEnvironment(surroundings, 'code', id)
      const session = new Session({
        id,
        marks,
        surroundings: { ...surroundings, environment: () => env },
        pipes,
        scanner,
        dir: join(dir, id),
        dialect: 'bash',
        path: program.path,
        cwd,
      })
      await session.start()
      const isMarked = (process: SeenProcess) => process.marks.family === marks[FAMILY_VARIABLE]
      return new BashKernel(session, (graceMs) => endAllOf({ isMarked }, { graceMs }, scanner))
    },
  }
}

class BashKernel implements Kernel {
  readonly language = 'bash'
  readonly ended: Promise<string>
  readonly #session: Session
  readonly #endAll: (graceMs: number) => Promise<unknown>
  readonly #closed = new AbortController()
  #count = 0
  #isRunning = false
  #isInterrupted = false

  constructor(session: Session, endAll: (graceMs: number) => Promise<unknown>) {
    this.#session = session
    this.#endAll = endAll
    this.ended = new Promise((resolve) => {
      // A shell that ends by itself is replaced by the session, with what it had.
      this.#closed.signal.addEventListener('abort', () => resolve('it was ended'))
    })
  }

  async execute(code: string, sink: CellSink): Promise<void> {
    if (this.#closed.signal.aborted) throw new KernelDied('it was ended')
    const output = new CellOutput(sink)
    output.put({ type: 'execution_count', count: ++this.#count })
    this.#isRunning = true
    this.#isInterrupted = false
    try {
      const end = await this.#session.run(
        { code },
        {
          begin: () => {},
          left: this.#closed.signal,
          write: (name, bytes) => output.write(name, bytes),
          drained: () => output.drained(),
        },
      )
      output.end()
      if (this.#closed.signal.aborted) throw new KernelDied('it was ended')
      if (end?.error) output.put({ type: 'error', error: this.#describe(end.error) })
      await output.drained()
    } finally {
      this.#isRunning = false
    }
  }

  async interrupt(): Promise<void> {
    if (!this.#isRunning) return
    this.#isInterrupted = true
    await this.#session.interrupt()
  }

  async close(graceMs: number): Promise<void> {
    this.#closed.abort()
    await Promise.all([this.#session.delete(graceMs), this.#endAll(graceMs)])
  }

  #describe(error: StreamError): StreamError {
    return this.#isInterrupted ? { ...error, ename: 'KeyboardInterrupt', evalue: 'interrupted' } : error
  }
}
