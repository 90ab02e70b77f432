// The part of a TLS connection in which its client may name a server. The first ClientHello is held until it is whole and its name is
// judged. A server may ask for a second one (RFC 8446 4.1.4), which must name the same; what comes after that is sealed.

import { readClientHello } from './client-hello.ts'
import type { CheckName, Judge, Judged } from './judge.ts'

const RECORD_HEADER = 5
const CHANGE_CIPHER_SPEC = 20
const ALERT = 21
const HANDSHAKE = 22
const CLIENT_HELLO = 1
const MAX_HELD_BYTES = 2 ** 17
/** A hello in more pieces than this is sent by nobody in earnest, and each costs a look at all of them. */
const MAX_PIECES = 256

export class TlsOpening implements Judge {
  readonly #check: CheckName
  readonly #allowsHiddenName: boolean
  #held: Buffer = Buffer.alloc(0)
  #pieces = 0
  #name: string | undefined
  #protocols: readonly string[] | undefined
  /** Nothing can be named any more. */
  #isSealed = false

  constructor(check: CheckName, { allowsHiddenName = false }: { allowsHiddenName?: boolean } = {}) {
    this.#check = check
    this.#allowsHiddenName = allowsHiddenName
  }

  /** What the client offers to speak, once its hello has come. */
  get protocols(): readonly string[] | undefined {
    return this.#protocols
  }

  push(chunk: Buffer): Judged {
    if (this.#isSealed) return { pass: [chunk] }
    this.#held = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk])
    if (this.#held.length > MAX_HELD_BYTES || ++this.#pieces > MAX_PIECES)
      return { pass: [], problem: 'its TLS handshake is too long, or in too many pieces' }
    const pass: Buffer[] = []
    while (this.#held.length > 0) {
      const next = this.#next()
      if (typeof next === 'string') return { pass, problem: next }
      if (next === 0) break
      pass.push(this.#held.subarray(0, next))
      this.#held = this.#held.subarray(next)
    }
    return { pass }
  }

  /** How many bytes of what is held may go on, or what is wrong. Zero: more must come first. */
  #next(): number | string {
    const type = this.#held[0]
    if (this.#name !== undefined) {
      if (type !== HANDSHAKE && type !== CHANGE_CIPHER_SPEC && type !== ALERT) return this.#seal()
      if (this.#held.length <= RECORD_HEADER) return 0
      if (type !== HANDSHAKE) {
        const length = RECORD_HEADER + this.#held.readUInt16BE(3)
        return this.#held.length < length ? 0 : length
      }
      if (this.#held[RECORD_HEADER] !== CLIENT_HELLO) return this.#seal()
    }
    const hello = readClientHello(this.#held)
    if (hello.is === 'more') return 0
    if (hello.is === 'bad') return `it ${hello.problem}`
    if (hello.serverName === undefined) return 'its ClientHello names no server (no SNI)'
    if (hello.hasHiddenName && !this.#allowsHiddenName)
      return 'its ClientHello may hide another name (Encrypted Client Hello)'
    if (this.#name !== undefined && hello.serverName !== this.#name)
      return 'its second ClientHello names another server'
    const problem = this.#name === undefined ? this.#check(hello.serverName) : undefined
    if (problem !== undefined) return problem
    this.#name = hello.serverName
    this.#protocols = hello.protocols
    return hello.length
  }

  #seal(): number {
    this.#isSealed = true
    return this.#held.length
  }
}
