// DNS messages: which questions are taken, and what answers look like. Pure. Messages are decoded by dns-packet and built anew,
// never passed through, so that nothing reaches a sandbox or a name server that was not understood here.

import dnsPacket, { type Answer, type OptAnswer, type Packet } from 'dns-packet'
import { ttlOf } from './ttl.ts'

export const RCODE = { ok: 0, malformed: 1, failed: 2, noSuchName: 3, notImplemented: 4, refused: 5 } as const
export type Rcode = number

export type Query = {
  id: number
  /** As it was written, because some clients compare it letter by letter. */
  name: string
  type: string
  recursionDesired: boolean
  /** Whether the client speaks EDNS, and how large an answer it takes by UDP. */
  edns: boolean
  maxBytes: number
}

/** What a name server is asked. The name is canonical. */
export type Question = { name: string; type: string }

/** `badVersion`: of EDNS, which is told in the record of that (RFC 6891 6.1.3). */
export type QueryProblem = { id: number; rcode: Rcode; badVersion?: true }

export type Reply = {
  rcode: Rcode
  answers?: Answer[]
  truncated?: boolean
  /** Why a name was denied, for clients that show it (RFC 8914, code 15: blocked). */
  blocked?: string
  /** Of an answer without records: how long it may be believed, and below which name (RFC 2308). */
  negative?: { zone: string; seconds: number }
}

/** The largest message that crosses any network whole (DNS flag day 2020). */
const UDP_BYTES = 1232
const PLAIN_UDP_BYTES = 512
const QR = 0x8000
const TC = 0x0200
const RD = 0x0100
const RA = 0x0080
const EDE_BLOCKED = 15

/** Types whose answers carry addresses that a sandbox has no use for or that go past the records of addresses, or whole zones; NULL carries bytes and has no other use. */
const ADDRESS_HINTS = ['AAAA', 'HTTPS', 'SVCB', 'UNKNOWN_64', 'UNKNOWN_65', 'A6', 'UNKNOWN_38']
const WHOLE = [
  'ANY',
  'NULL',
  'AXFR',
  'IXFR',
  'UNKNOWN_251',
  'UNKNOWN_252',
  'UNKNOWN_253',
  'UNKNOWN_254',
  'UNKNOWN_255',
]

/** How a question of an allowed name is treated: asked, answered with nothing, or refused. */
export function treatmentOf(type: string, { hasIpv6 }: { hasIpv6: boolean }): 'ask' | 'empty' | 'refuse' {
  if (WHOLE.includes(type)) return 'refuse'
  if (type === 'AAAA' && hasIpv6) return 'ask'
  // Hints in HTTPS records would lead around the records of addresses.
  return ADDRESS_HINTS.includes(type) ? 'empty' : 'ask'
}

/** Reads a question. Undefined: not worth an answer (too short, or itself an answer). */
export function parseQuery(message: Buffer): Query | QueryProblem | undefined {
  if (message.length < 12 || (message.readUInt16BE(2) & QR) !== 0) return undefined
  const id = message.readUInt16BE(0)
  const opcode = (message.readUInt16BE(2) >> 11) & 15
  if (opcode !== 0) return { id, rcode: RCODE.notImplemented }
  const counts = [4, 6, 8, 10].map((at) => message.readUInt16BE(at))
  const [questions = 0, answers = 0, authorities = 0, additionals = 0] = counts
  if (questions !== 1 || answers !== 0 || authorities !== 0 || additionals > 2)
    return { id, rcode: RCODE.malformed }
  let packet: Packet
  try {
    packet = dnsPacket.decode(message)
  } catch {
    // Whatever was wrong with it, the asker is told that it was malformed.
    return { id, rcode: RCODE.malformed }
  }
  const question = packet.questions?.[0]
  if (!question) return { id, rcode: RCODE.malformed }
  if ((question.class ?? 'IN') !== 'IN') return { id, rcode: RCODE.refused }
  const options = packet.additionals?.find((each): each is OptAnswer => each.type === 'OPT')
  if ((options?.ednsVersion ?? 0) !== 0) return { id, rcode: RCODE.ok, badVersion: true }
  return {
    id,
    name: question.name === '.' ? '' : question.name,
    type: String(question.type).toUpperCase(),
    recursionDesired: ((packet.flags ?? 0) & RD) !== 0,
    edns: options !== undefined,
    maxBytes: Math.min(Math.max(options?.udpPayloadSize ?? 0, PLAIN_UDP_BYTES), UDP_BYTES),
  }
}

/** The answer to a question, cut to what fits when it goes by UDP. */
export function formatReply(query: Query, reply: Reply, transport: 'udp' | 'tcp'): Buffer {
  const whole = encodeReply(query, reply)
  if (transport === 'tcp' ? whole.length <= 0xffff : whole.length <= query.maxBytes) return whole
  // The client asks again by TCP; a part of an answer would only mislead it.
  return encodeReply(query, { rcode: reply.rcode, truncated: true })
}

/** The answer to what could not be read: a header alone. */
export function formatProblem({ id, rcode, badVersion }: QueryProblem): Buffer {
  if (badVersion)
    return dnsPacket.encode({
      type: 'response',
      id,
      flags: RA,
      additionals: [{ ...ednsRecord([]), extendedRcode: 1 }],
    })
  const message = Buffer.alloc(12)
  message.writeUInt16BE(id, 0)
  message.writeUInt16BE(QR | RA | rcode, 2)
  return message
}

/** The question that goes to a name server. */
export function formatQuestion({ id, name, type }: Question & { id: number }): Buffer {
  return dnsPacket.encode({
    type: 'query',
    id,
    flags: RD,
    questions: [{ type: type as 'A', class: 'IN', name }],
    additionals: [ednsRecord([])],
  })
}

export type ServerReply = {
  rcode: Rcode
  truncated: boolean
  answers: Answer[]
  /** How long the server lets it be believed that there is nothing. */
  negativeSeconds?: number
}

/** Reads what a name server said, or undefined when it does not answer this question. */
export function parseServerReply(
  message: Buffer,
  question: Question & { id: number },
): ServerReply | undefined {
  if (message.length < 12 || message.readUInt16BE(0) !== question.id) return undefined
  const flags = message.readUInt16BE(2)
  if ((flags & QR) === 0) return undefined
  let packet: Packet
  try {
    packet = dnsPacket.decode(message)
  } catch {
    // A truncated answer may end in the middle of a record; TCP will bring it whole.
    return (flags & TC) === 0 ? undefined : { rcode: flags & 15, truncated: true, answers: [] }
  }
  const echoed = packet.questions?.[0]
  if (!echoed || packet.questions?.length !== 1) return undefined
  if (canonical(echoed.name) !== question.name || String(echoed.type).toUpperCase() !== question.type)
    return undefined
  const answers = (packet.answers ?? []).filter(
    (answer) => answer.type !== 'OPT' && (answer.class ?? 'IN') === 'IN',
  )
  const soa = packet.authorities?.find((each) => each.type === 'SOA')
  return {
    rcode: flags & 15,
    truncated: (flags & TC) !== 0,
    answers,
    ...(soa && { negativeSeconds: Math.min(ttlOf(soa), soa.data.minimum ?? 0) }),
  }
}

/** Lower case, without a dot at the end. */
export function canonical(name: string): string {
  return (name.endsWith('.') ? name.slice(0, -1) : name).toLowerCase()
}

function encodeReply(
  query: Query,
  { rcode, answers = [], truncated = false, blocked, negative }: Reply,
): Buffer {
  const name = query.name === '' ? '.' : query.name
  return dnsPacket.encode({
    type: 'response',
    id: query.id,
    flags: rcode | RA | (query.recursionDesired ? RD : 0) | (truncated ? TC : 0),
    questions: [{ type: query.type as 'A', class: 'IN', name }],
    answers,
    authorities: negative && !truncated ? [soaOf(negative)] : [],
    additionals: query.edns ? [ednsRecord(blocked === undefined ? [] : [extendedError(blocked)])] : [],
  })
}

/** Says how long a client may believe that there is nothing. */
function soaOf({ zone, seconds }: { zone: string; seconds: number }): Answer {
  return {
    type: 'SOA',
    name: zone === '' ? '.' : zone,
    ttl: seconds,
    data: {
      mname: 'egress.invalid',
      rname: 'nobody.invalid',
      serial: 1,
      refresh: 3600,
      retry: 600,
      expire: 86_400,
      minimum: seconds,
    },
  }
}

function ednsRecord(options: OptAnswer['options']): OptAnswer {
  return {
    type: 'OPT',
    name: '.',
    udpPayloadSize: UDP_BYTES,
    extendedRcode: 0,
    ednsVersion: 0,
    flags: 0,
    flag_do: false,
    options,
  }
}

function extendedError(text: string): OptAnswer['options'][number] {
  const data = Buffer.concat([Buffer.from([0, EDE_BLOCKED]), Buffer.from(text)])
  // dns-packet encodes any code that comes with its bytes; only its types know the older ones alone.
  return { code: EDE_BLOCKED, data } as unknown as OptAnswer['options'][number]
}
