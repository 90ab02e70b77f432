// DNS messages, from sandboxes and from name servers. Whatever comes, nothing throws, what was understood is asked for in such a way
// that it is understood the same again, and an answer fits its transport.

import dnsPacket from 'dns-packet'
import { filterAnswer } from '../../../egress/dns/filter-answer.ts'
import {
  canonical,
  formatProblem,
  formatQuestion,
  formatReply,
  parseQuery,
  parseServerReply,
} from '../../../egress/dns/message.ts'
import { decideName } from '../../../egress/policy/decide.ts'
import { mutateBytes } from './mutate.ts'
import { compiled } from './policies.ts'
import { type FuzzTarget, hex, unhex } from './target.ts'

const query = (name: string, type: string) =>
  dnsPacket.encode({ type: 'query', id: 7, flags: 0x100, questions: [{ type: type as 'A', name }] })
const reply = (answers: dnsPacket.Answer[]) =>
  dnsPacket.encode({
    type: 'response',
    id: 7,
    flags: 0x8180,
    questions: [{ type: 'A', name: 'good.example' }],
    answers,
  })

const SEEDS = [
  query('good.example', 'A'),
  query('a.b.c.d.tun.example', 'TXT'),
  query('GOOD.Example', 'AAAA'),
  query('.', 'NS'),
  dnsPacket.encode({
    type: 'query',
    id: 7,
    flags: 0x100,
    questions: [{ type: 'HTTPS' as 'A', name: 'good.example' }],
    additionals: [
      {
        type: 'OPT',
        name: '.',
        udpPayloadSize: 4096,
        extendedRcode: 0,
        ednsVersion: 0,
        flags: 0,
        flag_do: false,
        options: [],
      },
    ],
  }),
  reply([{ type: 'A', name: 'good.example', ttl: 60, data: '198.51.100.1' }]),
  reply([
    { type: 'CNAME', name: 'good.example', ttl: 60, data: 'other.example' },
    { type: 'A', name: 'other.example', ttl: 4_000_000_000, data: '10.0.0.1' },
    { type: 'TXT', name: 'good.example', ttl: 0, data: ['text', 'more'] },
    { type: 'MX', name: 'good.example', ttl: 1, data: { preference: 1, exchange: 'mail.example' } },
    { type: 'AAAA', name: 'good.example', ttl: 1, data: '::ffff:10.0.0.1' },
  ]),
]
const WORDS = [
  ...['c00c', 'c000', 'ffff', '0001', '0005', '001c', '0041', '00ff', '0029', '00', '3f', '04676f6f64'],
  ...['076578616d706c6500', '2e', '0000002901', '80000000', '0027', '0010'],
].map(unhex)

export const dnsTarget: FuzzTarget = {
  make: (random) => hex(mutateBytes({ seeds: SEEDS, words: WORDS }, random)),
  check: (made) => checkQuery(unhex(made)) ?? checkReply(unhex(made)),
  corpus: SEEDS.map(hex),
}

function checkQuery(message: Buffer): string | undefined {
  const parsed = parseQuery(message)
  if (!parsed) return undefined
  if ('rcode' in parsed) return formatProblem(parsed).length < 12 ? 'its refusal is no message' : undefined
  const name = canonical(parsed.name)
  for (const transport of ['udp', 'tcp'] as const) {
    const answered = formatReply(parsed, { rcode: 3, blocked: 'denied' }, transport)
    if (transport === 'udp' && answered.length > parsed.maxBytes && answered.length > 1232)
      return `its answer has ${answered.length} bytes`
  }
  // What is denied is asked by nobody.
  if (decideName(compiled, name).action === 'deny') return undefined
  const again = parseQuery(formatQuestion({ id: 7, name, type: parsed.type }))
  if (!again || 'rcode' in again) return `its question, "${name}", is refused when it is read again`
  return canonical(again.name) === name && again.type === parsed.type
    ? undefined
    : `it is decided on as "${name}" ${parsed.type} and asked for as "${again.name}" ${again.type}`
}

function checkReply(message: Buffer): string | undefined {
  const question = { id: 7, name: 'good.example', type: 'A' }
  const parsed = parseServerReply(message, question)
  if (!parsed) return undefined
  const { answers, addresses, ttl } = filterAnswer(compiled, { ...question, answers: parsed.answers })
  for (const address of addresses)
    if (/^(10|127|0|169\.254|192\.168)\./.test(address)) return `the address ${address} passes`
  if (!(ttl >= 0)) return `its time is ${ttl}`
  const asked = { ...question, recursionDesired: true, edns: true, maxBytes: 1232 }
  const passed = formatReply(asked, { rcode: parsed.rcode & 15, answers }, 'tcp')
  return passed.length > 0xffff ? `its answer has ${passed.length} bytes` : undefined
}
