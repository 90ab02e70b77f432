// A body that is held until it is whole. Its bytes are copied into one piece of memory: a body that comes byte by byte would otherwise
// be as many pieces, each of which takes hundreds of times what is in it.

import type { Field } from '../../lib/http1/fields.ts'
import type { Injection } from '../vault/port.ts'
import { MAX_SUBSTITUTED_BODY_BYTES, substitutesBody } from '../vault/substitute.ts'
import { firstOf } from './http1-head.ts'

/** Whether a body has to be whole before any of it goes on. `length`: what it says that it has, if it says that. */
export function isBodyHeld(
  { substitutions }: Injection,
  { fields, length }: { fields: readonly Field[]; length: number | undefined },
): boolean {
  if (substitutions.length === 0 || !length || length > MAX_SUBSTITUTED_BODY_BYTES) return false
  const contentType = firstOf(fields, 'content-type')
  const contentEncoding = firstOf(fields, 'content-encoding')
  return substitutesBody(substitutions, { contentType, contentEncoding })
}

export class HeldBody {
  readonly #bytes: Buffer
  #length = 0

  /** `length`: how long it says that it is; more than that is not kept. */
  constructor(length: number) {
    this.#bytes = Buffer.allocUnsafeSlow(length)
  }

  push(part: Buffer): void {
    this.#length += part.copy(this.#bytes, this.#length)
  }

  /** What has come of it. */
  takeAll(): Buffer {
    return this.#bytes.subarray(0, this.#length)
  }
}
