// Field blocks made by hand.

import { HpackDecoder } from '../../../../egress/http2/hpack/decoder.ts'
import type { Field } from '../../../../lib/http1/fields.ts'

export const openDecoder = (options: Partial<ConstructorParameters<typeof HpackDecoder>[0]> = {}) =>
  new HpackDecoder({ maxTableBytes: 4096, maxListBytes: 65_536, maxFields: 128, ...options })

export const fromHex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex')

/** A number behind the first bits of a representation (RFC 7541 5.1). */
export function number(bits: number, max: number, value: number): Buffer {
  if (value < max) return Buffer.from([bits | value])
  const bytes = [bits | max]
  let rest = value - max
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128)
  return Buffer.from([...bytes, rest])
}

export const sizeUpdate = (bytes: number) => number(0x20, 0x1f, bytes)
export const indexed = (index: number) => number(0x80, 0x7f, index)
export const text = (value: string) =>
  Buffer.concat([number(0, 127, value.length), Buffer.from(value, 'latin1')])
export const added = (name: string, value: string) =>
  Buffer.concat([Buffer.from([0x40]), text(name), text(value)])
export const literal = (name: string, value: string) =>
  Buffer.concat([Buffer.from([0x00]), text(name), text(value)])
export const neverAdded = (name: string, value: string) =>
  Buffer.concat([Buffer.from([0x10]), text(name), text(value)])

export const pairs = (fields: readonly Field[] | undefined) => fields?.map(({ name, value }) => [name, value])
