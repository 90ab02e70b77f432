// Field blocks made by hand.

import { HpackDecoder } from '../../../../egress/http2/hpack/decoder.ts'
import type { Field } from '../../../../lib/http1/fields.ts'
import { pack, packNumber, packText } from '../../../support/http2-frames.ts'

export const openDecoder = (options: Partial<ConstructorParameters<typeof HpackDecoder>[0]> = {}) =>
  new HpackDecoder({ maxTableBytes: 4096, maxListBytes: 65_536, maxFields: 128, ...options })

export const fromHex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex')

export const sizeUpdate = (bytes: number) => packNumber(0x20, 0x1f, bytes)
export const indexed = (index: number) => packNumber(0x80, 0x7f, index)
export const added = (name: string, value: string) =>
  Buffer.concat([Buffer.from([0x40]), packText(name), packText(value)])
export const literal = (name: string, value: string) => pack([[name, value]])
export const neverAdded = (name: string, value: string) =>
  Buffer.concat([Buffer.from([0x10]), packText(name), packText(value)])

export const pairs = (fields: readonly Field[] | undefined) => fields?.map(({ name, value }) => [name, value])
