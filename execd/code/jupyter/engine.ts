// Kernels of the Jupyter server that an image brings along, as the published code-interpreter image does: it starts with
// the sandbox and may still be on its way when the first context is asked for, and its kernels may be installed after it.

import { join } from 'node:path'
import { ApiError, messageOf } from '../../../lib/errors.ts'
import type { Logger } from '../../../lib/log.ts'
import { execdError } from '../../http/answer.ts'
import { createRandomId } from '../../random-id.ts'
import type { Surroundings } from '../../surroundings.ts'
import { pause } from '../../timer.ts'
import type { Engine, KernelSpec, Language } from '../engine.ts'
import { JupyterKernel, KERNEL_TIMES, type KernelTimes } from './kernel.ts'
import { chooseKernel, describeKernels, type ServedKernel } from './kernelspecs.ts'
import { preludeFor } from './prelude.ts'
import { createJupyterServer, type JupyterServer, ServerError } from './server.ts'

const STEP_MS = 250
/** How long a list of kernels is good for a language that it has. */
const LIST_MS = 10_000

export type JupyterOptions = {
  /** `JUPYTER_HOST` and `JUPYTER_TOKEN`. */
  host: string
  token: string
  /** The environment that kernels have anyway; what a context has beside it is given to its kernel. */
  env: Record<string, string>
  log: Logger
  /** How long a server that does not answer may be on its way. Published clients wait 30 s for a context. */
  startMs?: number
  /** How long after its start a server may still be given kernels. */
  installMs?: number
  times?: KernelTimes
}

/** The engine of the Jupyter server that the sandbox's environment names. */
export function createJupyterEngine({ bootEnv, env, log }: Surroundings): Engine {
  return jupyterEngine({ host: bootEnv.JUPYTER_HOST ?? '', token: bootEnv.JUPYTER_TOKEN ?? '', env, log })
}

/** The engine of a Jupyter server. The server is not asked before a language is. */
export function jupyterEngine(options: JupyterOptions): Engine {
  const { startMs = 20_000, installMs = 10_000 } = options
  const server = createJupyterServer(options)
  let listed: { kernels: ServedKernel[]; at: number } | undefined
  /** A server that we have waited for in vain is not waited for again until it answers. */
  let isGivenUp = false

  const list = async (): Promise<ServedKernel[]> => {
    const kernels = await server.kernelspecs()
    isGivenUp = false
    listed = { kernels, at: performance.now() }
    return kernels
  }

  /** The name of the kernel for a language, or why there is none. */
  const find = async (
    language: Language,
    signal?: AbortSignal,
  ): Promise<{ name: string } | { why: string }> => {
    if (!/^https?:\/\//.test(options.host))
      return { why: `JUPYTER_HOST must begin with "http://" or "https://": found "${options.host}"` }
    const known = listed && performance.now() - listed.at < LIST_MS && chooseKernel(listed.kernels, language)
    if (known) return { name: known }
    const deadline = performance.now() + startMs
    for (;;) {
      try {
        const kernels = await list()
        const name = chooseKernel(kernels, language)
        if (name) return { name }
        if (!(await isYoung(server, installMs)))
          return {
            why: `The Jupyter server at ${server.address} has no kernel for "${language}"; it has ${describeKernels(kernels)}`,
          }
      } catch (error) {
        if (!(error instanceof ServerError)) throw error
        if (error.status === 401 || error.status === 403)
          return { why: `The Jupyter server at ${server.address} does not accept the JUPYTER_TOKEN` }
        if (error.status !== undefined && error.status < 500) return { why: error.message }
        if (isGivenUp || performance.now() >= deadline) {
          isGivenUp = true
          return { why: `The Jupyter server at ${server.address} does not answer: ${error.message}` }
        }
      }
      await pause(STEP_MS)
      signal?.throwIfAborted()
    }
  }

  return {
    name: 'jupyter',
    refusal: async (language) => {
      const found = await find(language)
      return 'why' in found ? found.why : undefined
    },
    start: async (spec, signal) => {
      const found = await find(spec.language, signal)
      if ('why' in found) throw execdError('INVALID_REQUEST_BODY', found.why)
      try {
        return await startKernel({ ...options, server, name: found.name, spec, signal })
      } catch (error) {
        signal.throwIfAborted()
        if (error instanceof ApiError) throw error
        // A kernel that is listed and does not start may have been removed since.
        listed = undefined
        throw execdError(
          'RUNTIME_ERROR',
          `Cannot start the Jupyter kernel "${found.name}": ${messageOf(error)}`,
          error,
        )
      }
    },
  }
}

/** Whether the server has only just started, so that kernels may still be being installed. */
async function isYoung(server: JupyterServer, installMs: number): Promise<boolean> {
  try {
    const startedAt = await server.startedAt()
    return startedAt !== undefined && Date.now() - startedAt < installMs
  } catch (error) {
    if (error instanceof ServerError) return false
    throw error
  }
}

type Start = JupyterOptions & { server: JupyterServer; name: string; spec: KernelSpec; signal: AbortSignal }

async function startKernel({
  server,
  name,
  spec,
  signal,
  env,
  log,
  times = KERNEL_TIMES,
}: Start): Promise<JupyterKernel> {
  // A notebook that is never written: where it would lie is where its kernel starts.
  const id = createRandomId()
  const session = await server.createSession({
    path: join(spec.cwd, `${id}.ipynb`),
    name: id,
    kernel: name,
    signal,
  })
  const kernel = new JupyterKernel({ server, session, language: spec.language, times, log })
  try {
    await kernel.open(signal)
    const added = Object.entries(spec.env).filter(([key, value]) => env[key] !== value)
    const prelude = preludeFor(spec.language, { cwd: spec.cwd, env: Object.fromEntries(added) })
    const failure = prelude && (await kernel.prepare(prelude, signal))
    // It runs all the same, only elsewhere: some kernels of a language cannot be moved.
    if (failure) log.warn('cannot prepare a kernel', { kernel: name, cwd: spec.cwd, error: failure })
    return kernel
  } catch (error) {
    await kernel.close(0)
    throw error
  }
}
