// Creates that were sent with an Idempotency-Key (draft-ietf-httpapi-idempotency-key-header): the same key with the same body
// by the same tenant makes one sandbox and has one answer, however often it is sent, also while the first is still under way
// (where the draft proposes 409, a client would only ask again) and after a restart. With another body it is 422, as the draft
// says. A create that failed has left nothing behind, so its key can be used again.

import { createHash, createHmac } from 'node:crypto'
import type { CreateRequest } from '../../lib/api/lifecycle.ts'
import { canonicalJson } from '../canonical-json.ts'
import { refusal } from '../errors.ts'
import type { OnceMark } from '../store/once.ts'
import type { SandboxRow } from '../store/rows.ts'
import { formatCreated } from './format.ts'
import type { Lives } from './lives.ts'
import { waitForChange } from './wait-for-change.ts'

/** What a create answers. */
export type CreateAnswer = { id: string; body: string; warnings: string[] }
export type OnceAnswer = CreateAnswer & { isReplayed: boolean }

const MAX_KEY_LENGTH = 255
/** A structured field's string (RFC 9651 3.3.3), as the draft has it, or the bare key that most clients send. */
const QUOTED = /^"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"$/
const BARE = /^[\x21\x23-\x2b\x2d-\x7e]+$/

/** The key that a header names. Throws a 400 when it is none. */
export function parseIdempotencyKey(header: string): string {
  const text = header.trim()
  const quoted = QUOTED.exec(text)?.[1]?.replace(/\\(.)/g, '$1')
  const key = quoted ?? (BARE.test(text) ? text : '')
  if (key === '' || key.length > MAX_KEY_LENGTH)
    throw refusal(
      'GENERAL::BAD_REQUEST',
      `Idempotency-Key must be one key of 1 to ${MAX_KEY_LENGTH} visible ASCII characters, in quotes when it has spaces or commas`,
    )
  return key
}

/**
 * What stands for a key and its request in the database. Neither is kept itself: a request may hold a password, and cannot be
 * guessed from its hash by who does not know the key.
 */
export function markOf(key: string, request: CreateRequest): OnceMark {
  return {
    key: createHash('sha256').update(key).digest('hex'),
    requestHash: createHmac('sha256', key).update(canonicalJson(request)).digest('hex'),
  }
}

type Running = { requestHash: string; answer: Promise<CreateAnswer> }

/** The creates with a key that are under way in this process; the finished ones stand in the database. */
export class OnceKeys {
  readonly #running = new Map<string, Running>()

  /**
   * The answer to a request: the first one's when there was one, else that of `make`, which has to write `mark` with what it
   * makes. Whoever waits may leave; what was begun goes on, because they will ask again.
   */
  async answer(
    lives: Lives,
    { tenant, mark }: { tenant: string; mark: OnceMark },
    make: () => Promise<CreateAnswer>,
  ): Promise<OnceAnswer> {
    const name = `${tenant}/${mark.key}`
    const running = this.#running.get(name)
    if (running) {
      requireSame(mark, running)
      return { ...(await running.answer), isReplayed: true }
    }
    let isReplayed = false
    const answer = (async () => {
      const earlier = await earlierAnswer(lives, tenant, mark)
      isReplayed = earlier !== undefined
      if (earlier) return earlier
      const made = await make()
      lives.store.once.keepAnswer(made.id, JSON.stringify(made))
      return made
    })()
    this.#running.set(name, { requestHash: mark.requestHash, answer })
    try {
      return { ...(await answer), isReplayed }
    } finally {
      this.#running.delete(name)
    }
  }
}

async function earlierAnswer(
  lives: Lives,
  tenant: string,
  mark: OnceMark,
): Promise<CreateAnswer | undefined> {
  const { store, settings, now, signal } = lives
  const waiting = AbortSignal.any([signal, AbortSignal.timeout(settings.createAnswerMs)])
  for (;;) {
    const change = waitForChange(store, {
      signal: waiting,
      concerns: (event) => event.tenant === tenant,
    })
    try {
      const found = store.once.find(tenant, mark.key, now() - settings.idempotencyMs)
      if (!found) return undefined
      requireSame(mark, found)
      if (found.answer !== null) return JSON.parse(found.answer) as CreateAnswer
      const row = store.get(found.sandboxId)
      if (!row)
        throw refusal(
          'GENERAL::CONFLICT',
          `This Idempotency-Key has made sandbox "${found.sandboxId}", which is gone: send another key`,
        )
      if (row.acknowledged && !row.hidden) return answerOf(lives.progress.shown(row), [])
      // Left half made by a process that died; it is being cleared away, and the key with it.
      if (!(await change.happened))
        throw refusal(
          'GENERAL::STOPPING',
          'What an earlier request with this Idempotency-Key began is being undone',
        )
    } finally {
      change.cancel()
    }
  }
}

/** The answer that tells of a sandbox as it is now. */
export function answerOf(row: SandboxRow, warnings: string[]): CreateAnswer {
  return { id: row.id, body: JSON.stringify(formatCreated(row)), warnings }
}

function requireSame(mark: OnceMark, known: { requestHash: string }): void {
  if (mark.requestHash === known.requestHash) return
  throw refusal(
    'GENERAL::IDEMPOTENCY_KEY_REUSED',
    'This Idempotency-Key was sent before with another body: send the same body, or another key',
  )
}
