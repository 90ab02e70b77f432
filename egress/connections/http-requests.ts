// Requests of one HTTP/1 connection, judged one after the other as their bytes pass (RFC 9112). Every request names its host, and a
// connection that was opened for one name could be used for another later; so the borders of every request are followed, and what
// two readers could understand differently ends the connection. Pure, with bounded memory.

import type { Field } from '../../lib/http1/fields.ts'
import { type Framing, isEmpty } from '../../lib/http1/framing.ts'
import { parseFields, requestFraming, valuesOf } from '../interception/http1-head.ts'
import type { CheckName, Judge, Judged } from './judge.ts'

type State =
  | 'head'
  | 'body'
  | 'chunk size'
  | 'chunk data'
  | 'chunk end'
  | 'trailers'
  /** It asked for another protocol; whether it got it decides what its bytes are. */
  | 'switching'
  /** Another protocol, agreed to by the server. */
  | 'opaque'

export const MAX_HEAD_BYTES = 65_536
const MAX_CHUNK_LINE_BYTES = 4096
const LF = 10
const REQUEST_LINE = /^([A-Z]+) (\S+) HTTP\/1\.([01])\r\n/
const NO_REQUEST = 'it does not begin with an HTTP/1 request'
const CHUNK_SIZE = /^[0-9A-Fa-f]{1,12}(;[\t\x20-\x7e\x80-\xff]*)?$/

/** Whether this is how an HTTP/1 request begins. */
export function looksLikeHttp(first: number): boolean {
  return first >= 0x41 && first <= 0x5a
}

export class HttpRequests implements Judge {
  readonly #check: CheckName
  #state: State = 'head'
  /** What is held back: the whole lines of a head, and what there is of the line behind them; or what came before an answer. */
  #held: Buffer[] = []
  #line: Buffer[] = []
  #heldBytes = 0
  /** Bytes of the body or chunk that are still to come. */
  #left = 0
  #requests = 0

  constructor(check: CheckName) {
    this.#check = check
  }

  /** Whether the answer to the only request decides how to go on: `answered` must be called before more is judged. */
  get isSwitching(): boolean {
    return this.#state === 'switching'
  }

  /** Judges more bytes from the client. After a problem nothing more may be given. */
  push(chunk: Buffer): Judged {
    const pass: Buffer[] = []
    let rest = chunk
    while (rest.length > 0) {
      if (this.#state === 'opaque') {
        pass.push(rest)
        break
      }
      if (this.#state === 'switching') {
        this.#hold(rest)
        if (this.#heldBytes > MAX_HEAD_BYTES)
          return { pass, problem: 'it sends too much before it is answered' }
        break
      }
      if (this.#state === 'body' || this.#state === 'chunk data') {
        const part = rest.subarray(0, this.#left)
        this.#left -= part.length
        rest = rest.subarray(part.length)
        pass.push(part)
        if (this.#left === 0) this.#state = this.#state === 'body' ? 'head' : 'chunk end'
        continue
      }
      const end = rest.indexOf(LF)
      const line = end < 0 ? rest : rest.subarray(0, end + 1)
      this.#line.push(line)
      this.#heldBytes += line.length
      rest = rest.subarray(line.length)
      const limit =
        this.#state === 'head' || this.#state === 'trailers' ? MAX_HEAD_BYTES : MAX_CHUNK_LINE_BYTES
      if (this.#heldBytes > limit)
        return { pass, problem: `its ${this.#state} is longer than ${limit} bytes` }
      if (end < 0) break
      const problem = this.#lineEnds(pass)
      if (problem !== undefined) return { pass, problem }
    }
    return { pass }
  }

  /** Tells the status of the server's answer to a request for another protocol. Gives what may be sent on now. */
  answered(status: number): Judged {
    const held = Buffer.concat(this.#held)
    this.#clear()
    this.#state = status === 101 ? 'opaque' : 'head'
    return held.length > 0 ? this.push(held) : { pass: [] }
  }

  /** A line feed has come. Each line is looked at once, so that many short ones cost no more than a long one. */
  #lineEnds(pass: Buffer[]): string | undefined {
    const bytes = Buffer.concat(this.#line)
    const isFirst = this.#held.length === 0
    this.#line = []
    this.#held.push(bytes)
    const line = bytes.toString('latin1')
    if (!line.endsWith('\r\n')) return 'a line of a request does not end in CR LF'
    const isWithinFields = line !== '\r\n' && (this.#state === 'head' || this.#state === 'trailers')
    const problem = this.#judgeLine(line, isFirst)
    if (problem !== undefined || isWithinFields) return problem
    pass.push(...this.#held)
    this.#clear()
    return undefined
  }

  #judgeLine(line: string, isFirst: boolean): string | undefined {
    if (this.#state === 'chunk size') {
      if (!CHUNK_SIZE.test(line.slice(0, -2))) return 'a chunk has no proper size'
      this.#left = Number.parseInt(line, 16)
      this.#state = this.#left === 0 ? 'trailers' : 'chunk data'
    } else if (this.#state === 'chunk end') {
      if (line !== '\r\n') return 'a chunk is longer than it says'
      this.#state = 'chunk size'
    } else if (line === '\r\n') {
      if (this.#state === 'head')
        return isFirst ? 'an empty line stands where a request should' : this.#head(this.#heldText())
      const fields = parseFields(this.#heldText().slice(0, -2))
      if ('problem' in fields) return fields.problem
      this.#state = 'head'
    } else if (isFirst && this.#state === 'head' && !REQUEST_LINE.test(line)) return NO_REQUEST
    return undefined
  }

  #heldText(): string {
    return Buffer.concat(this.#held).toString('latin1')
  }

  #head(text: string): string | undefined {
    const lineEnd = text.indexOf('\r\n')
    const [, method = '', target = '', minor] = REQUEST_LINE.exec(text) ?? []
    this.#requests++
    if (method === 'CONNECT') return 'a CONNECT would lead elsewhere'
    const fields = parseFields(text.slice(lineEnd + 2, -2))
    if ('problem' in fields) return fields.problem
    const hosts = valuesOf(fields, 'host')
    if (hosts.length !== 1) return `a request has ${hosts.length === 0 ? 'no Host' : 'several Hosts'}`
    const [host = ''] = hosts
    const name = nameOfHost(host)
    if (name === undefined) return 'a request has a Host that is no name'
    const problem = this.#check(name) ?? checkTarget(target, host)
    if (problem !== undefined) return problem
    const framing = requestFraming({ minor: minor === '0' ? 0 : 1, fields })
    if ('problem' in framing) return framing.problem
    this.#beginBody(framing)
    return this.#upgrade(fields)
  }

  #beginBody(framing: Framing): void {
    this.#left = framing.kind === 'length' ? framing.length : 0
    this.#state = isEmpty(framing) ? 'head' : framing.kind === 'chunked' ? 'chunk size' : 'body'
  }

  #upgrade(fields: readonly Field[]): string | undefined {
    const upgrades = valuesOf(fields, 'upgrade')
    if (upgrades.length === 0) return undefined
    // HTTP/2 would come after "h2c", with hosts of its own.
    if (upgrades.length > 1 || upgrades[0]?.toLowerCase() !== 'websocket')
      return 'a request asks for a protocol other than "websocket"'
    if (this.#requests > 1) return 'a request for another protocol is not the first of its connection'
    if (this.#state !== 'head') return 'a request for another protocol has a body'
    this.#state = 'switching'
    return undefined
  }

  #hold(bytes: Buffer): void {
    this.#held.push(bytes)
    this.#heldBytes += bytes.length
  }

  #clear(): void {
    this.#held = []
    this.#heldBytes = 0
  }
}

/** A target in absolute form decides where a server looks, whatever Host says (RFC 9112 3.2.2). */
function checkTarget(target: string, host: string): string | undefined {
  if (target.startsWith('/') || target === '*') return undefined
  const absolute = /^https?:\/\/([^/?#]*)/i.exec(target)
  if (absolute && absolute[1]?.toLowerCase() === host.toLowerCase()) return undefined
  return 'a request names another host in its target'
}

/** The name in a Host field, without its port, or an address of IPv6 without its brackets; undefined when it is neither. */
function nameOfHost(host: string): string | undefined {
  const [, name, address] = /^(?:([^\s:@/?#[\]]+)|\[([0-9a-f:.]+)\])(?::\d{0,5})?$/i.exec(host) ?? []
  return name ?? address
}
