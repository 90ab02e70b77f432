import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  followSequences,
  lengthOfCutCharacter,
  lengthOfRest,
  type SequenceState,
} from '../../../execd/pty/escape.ts'
import { ReplayBuffer, type Stream } from '../../../execd/pty/replay.ts'

const bytes = (text: string) => Buffer.from(text, 'latin1')

describe('followSequences()', () => {
  test.each<[string, SequenceState]>([
    ['', 'ground'],
    ['plain text\r\n', 'ground'],
    ['\x1b', 'escape'],
    ['text \x1b[38;5;19', 'csi'],
    ['text \x1b[38;5;196m', 'ground'],
    ['\x1b[?2004h', 'ground'],
    ['\x1b(', 'intermediate'],
    ['\x1b(B', 'ground'],
    ['\x1b7', 'ground'],
    ['\x1b]0;title', 'osc'],
    ['\x1b]0;title\x07', 'ground'],
    ['\x1b]0;title\x1b', 'escape'],
    ['\x1b]0;title\x1b\\', 'ground'],
    ['\x1bPq#0;2', 'string'],
    ['\x1bPq#0;2\x07', 'string'],
    ['\x1bPq#0;2\x1b\\', 'ground'],
    ['\x1b_G;AAAA', 'string'],
    ['\x1b[12\x18', 'ground'],
    ['\x1b]8;;http://x\x1a', 'ground'],
    ['\x1b[12\x1b', 'escape'],
    ['\x1b\x1b[', 'csi'],
    ['\x1b\r[', 'csi'],
    ['\x1b[1\xe4', 'ground'],
  ])('%j ends in the state "%s"', (text, state) => {
    expect(followSequences('ground', bytes(text))).toBe(state)
  })

  test('is the same in one piece or in many', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: fc.constantFrom(...'\x1b[]P\\m;1\x07\x18(Bx') })), (pieces) => {
        const whole = followSequences('ground', bytes(pieces.join('')))
        const parts = pieces.reduce<SequenceState>(
          (state, piece) => followSequences(state, bytes(piece)),
          'ground',
        )
        expect(parts).toBe(whole)
      }),
    )
  })
})

test.each<[SequenceState, string, number | undefined]>([
  ['ground', 'x', 0],
  ['csi', '5;196mred', 6],
  ['osc', 'title\x07x', 6],
  ['escape', '', undefined],
  ['string', 'never ended', undefined],
  ['escape', '\\', 1],
])('lengthOfRest() of %s before %j is %s', (state, text, length) => {
  expect(lengthOfRest(state, bytes(text))).toBe(length)
})

test.each([
  ['x', 0],
  ['', 0],
  ['\xa4x', 1],
  ['\x82\xacx', 2],
  ['\x9f\x98\x80x', 3],
  ['\x80\x80\x80\x80', 3],
  ['\xc3\xa4', 0],
] as const)('lengthOfCutCharacter() of %j is %d', (text, length) => {
  expect(lengthOfCutCharacter(bytes(text))).toBe(length)
})

describe('a replay buffer', () => {
  const textFrom = (replay: ReplayBuffer, position: number) => {
    const target = Buffer.alloc(replay.end - position)
    replay.copyFrom(position, target, 0)
    return target.toString('latin1')
  }

  test('keeps the last bytes, and counts all', () => {
    const replay = new ReplayBuffer({ maxBytes: 10 })
    replay.append('stdout', bytes('abcdef'))
    expect([replay.start, replay.end, textFrom(replay, 0)]).toEqual([0, 6, 'abcdef'])
    replay.append('stdout', bytes('ghijkl'))
    expect([replay.start, replay.end, textFrom(replay, 2)]).toEqual([2, 12, 'cdefghijkl'])
    replay.append('stdout', bytes('0123456789ABCDEFGHIJxyz'))
    expect([replay.start, replay.end, textFrom(replay, 25)]).toEqual([25, 35, 'DEFGHIJxyz'])
    expect(textFrom(replay, 35)).toBe('')
  })

  test('gives what follows a position, one stream at a time', () => {
    const replay = new ReplayBuffer({ maxBytes: 100 })
    replay.append('stdout', bytes('out'))
    replay.append('stderr', bytes('err'))
    replay.append('stderr', bytes('or'))
    replay.append('stdout', bytes('!'))
    const read = (position: number, max = 100) => {
      const part = replay.read(position, max)
      return [part.stream, part.bytes.toString()]
    }
    expect([read(0), read(1, 1), read(3), read(6), read(8)]).toEqual([
      ['stdout', 'out'],
      ['stdout', 'u'],
      ['stderr', 'error'],
      ['stderr', 'or'],
      ['stdout', '!'],
    ])
  })

  test('forgets rather than remember too many changes between the streams', () => {
    const replay = new ReplayBuffer({ maxBytes: 1000, maxRuns: 4 })
    for (let count = 0; count < 10; count++) {
      replay.append('stdout', bytes('a'))
      replay.append('stderr', bytes('b'))
    }
    expect([replay.start, replay.end]).toEqual([16, 20])
    expect(replay.read(16, 10)).toEqual({ stream: 'stdout', bytes: bytes('a') })
  })

  test('is always the end of all that was appended, whatever the pieces', () => {
    const piece = fc.record({
      stream: fc.constantFrom<Stream>('stdout', 'stderr'),
      bytes: fc.uint8Array({ maxLength: 70 }),
    })
    fc.assert(
      fc.property(fc.array(piece), fc.integer({ min: 1, max: 64 }), (pieces, maxBytes) => {
        const replay = new ReplayBuffer({ maxBytes })
        const all: { stream: Stream; byte: number }[] = []
        for (const { stream, bytes: some } of pieces) {
          replay.append(stream, Buffer.from(some))
          for (const byte of some) all.push({ stream, byte })
        }
        expect([replay.end, replay.start]).toEqual([all.length, Math.max(0, all.length - maxBytes)])
        for (let position = replay.start; position < replay.end; ) {
          const part = replay.read(position, 7)
          expect(part.bytes.length).toBeGreaterThan(0)
          expect([...part.bytes].map((byte) => ({ stream: part.stream, byte }))).toEqual(
            all.slice(position, position + part.bytes.length),
          )
          position += part.bytes.length
        }
      }),
    )
  })

  test('begins anew at whole characters and sequences, at the first one that there is', () => {
    const units = [
      'x',
      'ä',
      '€',
      '😀',
      '\x1b[31m',
      '\x1b]0;title\x07',
      '\x1b]8;;u\x1b\\',
      '\x1bPq1\n2\x1b\\',
      '\r\n',
      '\x1b(B',
    ]
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom(...units), { maxLength: 60 }),
        fc.integer({ min: 12, max: 80 }),
        (chosen, maxBytes) => {
          const replay = new ReplayBuffer({ maxBytes })
          const beginnings = new Set([0])
          let position = 0
          for (const unit of chosen) {
            replay.append('stdout', Buffer.from(unit))
            position += Buffer.byteLength(unit)
            beginnings.add(position)
          }
          const first = [...beginnings].find((at) => at >= replay.start)
          // The two halves of a line break, and of the end of a string, are each whole.
          const tolerated =
            replay.safeStart() < (first ?? 0) ? textFrom(replay, replay.safeStart()).startsWith('\n') : false
          if (!tolerated) expect(replay.safeStart()).toBe(first)
        },
      ),
    )
  })

  test('gives up on a sequence that does not end', () => {
    const replay = new ReplayBuffer({ maxBytes: 100 })
    replay.append('stdout', bytes(`\x1bP${'x'.repeat(500)}`))
    expect(replay.safeStart()).toBe(replay.start)
  })
})
