// Asks a registry by way of the daemon: what a reference stands for now, which shows at the same time whether it lets the caller have it.

import { formatReference, type Reference } from '../../../image/reference.ts'
import { failureOfPull } from '../../../image/registry.ts'
import type { ImageAuth } from '../../images.ts'
import { RuntimeError } from '../../runtime.ts'
import { type Engine, EngineRefusal } from '../engine.ts'

type Answer = { Descriptor?: { digest?: string } }

/** The digest that a registry gives a reference. Rejects with RuntimeError, or the signal's reason. */
export async function askDigest(
  engine: Engine,
  question: {
    reference: Reference
    shownAs: string
    auth?: ImageAuth
    signal: AbortSignal
    timeoutMs: number
  },
): Promise<string> {
  const { reference, shownAs, auth, signal, timeoutMs } = question
  let answer: Answer
  try {
    answer = await engine.call(
      (abortSignal) =>
        new Promise<Answer>((resolve, reject) =>
          // By hand, as the client's own call for it takes no signal.
          engine.docker.modem.dial(
            {
              path: `/distribution/${formatReference(reference)}/json`,
              method: 'GET',
              abortSignal,
              statusCodes: { 200: true },
              ...(auth && { authconfig: auth }),
            },
            (error, data) => (error ? reject(error) : resolve(data as Answer)),
          ),
        ),
      { signal, timeoutMs },
    )
  } catch (error) {
    throw pullFailure(error, shownAs)
  }
  const digest = answer.Descriptor?.digest ?? ''
  if (!/^sha256:[0-9a-f]{64}$/.test(digest) || (reference.digest ?? digest) !== digest)
    throw new RuntimeError(
      'registry_failed',
      `Cannot pull image "${shownAs}": the registry answered with another digest than it was asked for`,
    )
  return digest
}

/** What a refusal of the daemon means for whoever wants an image; anything else stays what it is. */
export function pullFailure(error: unknown, shownAs: string): unknown {
  if (!(error instanceof EngineRefusal)) return error
  const { status, message } = error
  // What comes after it is about a file of the image, and not about the image.
  const isUnpacked = /failed to register layer|error processing tar/i.test(message)
  const told = isUnpacked
    ? 'image_pull_failed'
    : status === 404
      ? 'image_not_found'
      : status === 401 || status === 403
        ? 'image_denied'
        : failureOfPull(error)
  const failure = /no space left on device/i.test(message) ? 'no_space' : told
  return new RuntimeError(failure, `Cannot pull image "${shownAs}": ${message}`, { cause: error })
}
