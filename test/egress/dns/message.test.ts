import dnsPacket, { type Answer } from 'dns-packet'
import { describe, expect, test } from 'vitest'
import {
  formatQuestion,
  formatReply,
  parseQuery,
  parseServerReply,
  type Query,
  treatmentOf,
} from '../../../egress/dns/message.ts'

const question = (name: string, type = 'A', more: object = {}) =>
  dnsPacket.encode({ type: 'query', id: 77, flags: 0x100, questions: [{ type: type as 'A', name }], ...more })
const opt = (udpPayloadSize: number) => ({
  type: 'OPT' as const,
  name: '.',
  udpPayloadSize,
  extendedRcode: 0,
  ednsVersion: 0,
  flags: 0,
  flag_do: false,
  options: [],
})
describe('parseQuery()', () => {
  test('reads a question and keeps its letters as they are', () => {
    expect(parseQuery(question('ExAmple.com', 'AAAA'))).toEqual({
      id: 77,
      name: 'ExAmple.com',
      type: 'AAAA',
      recursionDesired: true,
      edns: false,
      maxBytes: 512,
    })
  })

  test.each([
    [1, 512],
    [512, 512],
    [1000, 1000],
    [4096, 1232],
  ])('a client that says %i bytes gets answers of at most %i', (said, maxBytes) => {
    expect(parseQuery(question('a.example', 'A', { additionals: [opt(said)] }))).toMatchObject({
      edns: true,
      maxBytes,
    })
  })

  test('gives no answer to an answer, or to less than a header', () => {
    const message = question('a.example')
    message.writeUInt16BE(0x8100, 2)
    expect(parseQuery(message)).toBeUndefined()
    expect(parseQuery(message.subarray(0, 11))).toBeUndefined()
    expect(parseQuery(Buffer.alloc(0))).toBeUndefined()
  })

  const two = dnsPacket.encode({
    type: 'query',
    id: 77,
    questions: [
      { type: 'A', name: 'a.example' },
      { type: 'A', name: 'b.example' },
    ],
  })
  const counts = (at: number, value: number) => {
    const message = question('a.example')
    message.writeUInt16BE(value, at)
    return message
  }
  test.each([
    ['two questions', two, 1],
    ['no question', counts(4, 0), 1],
    ['an answer in it', counts(6, 1), 1],
    ['an authority in it', counts(8, 1), 1],
    ['three additions', counts(10, 3), 1],
    ['a name that is cut off', question('a.example').subarray(0, 15), 1],
    ['a name that points at itself', loop(), 1],
    ['another operation', counts(2, 0x2800), 4],
    ['another class', question('a.example', 'A', { questions: [{ type: 'A', name: 'a', class: 'CH' }] }), 5],
  ])('refuses a message with %s', (_, message, rcode) => {
    expect(parseQuery(message)).toEqual({ id: 77, rcode })
  })

  test('lives through noise', () => {
    let state = 1
    const random = () => {
      state = (state * 1_103_515_245 + 12_345) % 2 ** 31
      return state & 255
    }
    for (let round = 0; round < 3000; round++) {
      const message = question('some.longer.name.example', 'A', { additionals: [opt(1232)] })
      for (let flips = 0; flips < 1 + (round % 6); flips++) message[random() % message.length] = random()
      expect(() => parseQuery(message)).not.toThrow()
      expect(() => parseServerReply(message, { id: 77, name: 'a', type: 'A' })).not.toThrow()
    }
  })
})

function loop(): Buffer {
  const message = question('a.example')
  message.writeUInt16BE(0xc00c, 12)
  return message
}

test.each([
  ['A', 'ask'],
  ['TXT', 'ask'],
  ['MX', 'ask'],
  ['SRV', 'ask'],
  ['CNAME', 'ask'],
  ['AAAA', 'empty'],
  ['HTTPS', 'empty'],
  ['UNKNOWN_64', 'empty'],
  ['UNKNOWN_65', 'empty'],
  ['SVCB', 'empty'],
  ['ANY', 'refuse'],
  ['AXFR', 'refuse'],
  ['IXFR', 'refuse'],
])('a question of type %s: %s', (type, treatment) => {
  expect(treatmentOf(type, { hasIpv6: false })).toBe(treatment)
  // Of the same name, as it is everything else that leads past the addresses.
  expect(treatmentOf(type, { hasIpv6: true })).toBe(type === 'AAAA' ? 'ask' : treatment)
})

test.each([64, 65, 255])('type %i is read under a name that is treated', (type) => {
  const message = question('a.example')
  message.writeUInt16BE(type, message.length - 4)
  const query = parseQuery(message)
  expect(query && 'type' in query && treatmentOf(query.type, { hasIpv6: true })).not.toBe('ask')
})

describe('formatReply()', () => {
  const query: Query = {
    id: 5,
    name: 'A.example',
    type: 'A',
    recursionDesired: true,
    edns: true,
    maxBytes: 512,
  }

  test('says why a name is blocked to a client that speaks EDNS, and to no other', () => {
    const reply = formatReply(query, { rcode: 3, blocked: 'by policy' }, 'udp')
    expect(reply.includes('by policy')).toBe(true)
    expect(reply.readUInt16BE(2) & 15).toBe(3)
    expect(
      formatReply({ ...query, edns: false }, { rcode: 3, blocked: 'by policy' }, 'udp').includes('by'),
    ).toBe(false)
  })

  test('an answer that does not fit is announced by UDP and whole by TCP', () => {
    const answers = Array.from(
      { length: 40 },
      (_, index): Answer => ({ type: 'A', name: 'a.example', ttl: 1, data: `198.51.100.${index}` }),
    )
    const short = dnsPacket.decode(formatReply(query, { rcode: 0, answers }, 'udp'))
    expect(short).toMatchObject({ flag_tc: true, answers: [] })
    const whole = dnsPacket.decode(formatReply(query, { rcode: 0, answers }, 'tcp'))
    expect(whole).toMatchObject({ flag_tc: false, questions: [{ name: 'A.example' }] })
    expect(whole.answers).toHaveLength(40)
  })
})

describe('parseServerReply()', () => {
  const asked = { id: 9, name: 'a.example', type: 'A' }
  const reply = (more: object = {}) =>
    dnsPacket.encode({ type: 'response', id: 9, questions: [{ type: 'A', name: 'a.example' }], ...more })

  test('takes the answer to the question', () => {
    expect(parseServerReply(reply(), asked)).toEqual({ rcode: 0, truncated: false, answers: [] })
    expect(dnsPacket.decode(formatQuestion(asked)).questions).toMatchObject([
      { name: 'a.example', type: 'A' },
    ])
  })

  test.each([
    ['with another id', reply({ id: 10 })],
    ['to another name', reply({ questions: [{ type: 'A', name: 'b.example' }] })],
    ['to another type', reply({ questions: [{ type: 'TXT', name: 'a.example' }] })],
    ['without its question', reply({ questions: [] })],
    ['that is a question', formatQuestion(asked)],
    ['of three bytes', Buffer.from([0, 9, 0])],
  ])('does not take one %s', (_, message) => {
    expect(parseServerReply(message, asked)).toBeUndefined()
  })
})
