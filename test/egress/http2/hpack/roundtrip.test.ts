// What the encoder writes, the decoder reads: made-up lists over made-up connections, the same in each run.

import { expect, test } from 'vitest'
import { type FieldToSend, HpackEncoder } from '../../../../egress/http2/hpack/encoder.ts'
import { createRandom, type Random } from '../../../gateway/strict/mutate.ts'
import { openDecoder, pairs } from './blocks.ts'

const CONNECTIONS = 150
const BLOCKS = 40
const NAMES = [
  ...[
    ':path',
    ':status',
    ':method',
    ':authority',
    'cookie',
    'set-cookie',
    'date',
    'x-request-id',
    'user-agent',
  ],
  ...['a', 'b', 'a-name-that-is-in-no-table', ''],
]
const VALUES = [
  '',
  '/',
  'GET',
  '200',
  '418',
  'a',
  'b',
  'c',
  'ÿ\0',
  'x'.repeat(100),
  'y'.repeat(3000),
  'z'.repeat(5000),
]
const LIMITS = [0, 33, 64, 100, 300, 1000, 4096, 65_536]

test('what is sent is what is read, however large the table may be', () => {
  const random = createRandom(7541)
  let bytes = 0
  for (let connection = 0; connection < CONNECTIONS; connection++) {
    const encoder = new HpackEncoder()
    const decoder = openDecoder({ maxListBytes: 1_000_000 })
    for (let sent = 0; sent < BLOCKS; sent++) {
      for (let changes = random(8) === 0 ? random(4) : 0; changes > 0; changes--)
        encoder.limitTable(pick(LIMITS, random))
      const fields = Array.from({ length: random(20) }, () => makeField(random))
      const block = encoder.encode(fields)
      bytes += block.length
      const read = decoder.decode(block)
      expect(pairs(read?.fields)).toEqual(fields.map(({ name, value }) => [name, value]))
      expect(read?.fields.map(({ isSensitive = false }) => isSensitive)).toEqual(
        fields.map(({ isSensitive = false }) => isSensitive),
      )
    }
  }
  expect(bytes).toBeGreaterThan(1_000_000)
})

function makeField(random: Random): FieldToSend {
  const value = random(4) === 0 ? String(random(1000)) : pick(VALUES, random)
  const field = { name: pick(NAMES, random), value }
  return random(10) === 0 ? { ...field, isSensitive: true } : field
}

function pick<T>(items: readonly T[], random: Random): T {
  return items[random(items.length)]!
}
