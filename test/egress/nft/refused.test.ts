import { expect, test } from 'vitest'
import type { NftElement, NftObject } from '../../../egress/nft/apply.ts'
import { createRefusedLog } from '../../../egress/nft/refused.ts'
import { DecisionRecord } from '../../../egress/record.ts'
import { createLogger } from '../../../lib/log.ts'

const element = (address: string, port: number, protocol = 'tcp', name = 'osbab12aa') => ({
  elem: { val: { concat: [name, address, protocol, port] }, expires: 50 },
})

function setup() {
  const lines: string[] = []
  const state = { listed: [] as NftObject[] | undefined, others: new Map<string, NftObject[]>() }
  const record = new DecisionRecord()
  let now = 0
  const later = (ms: number) => {
    now += ms
  }
  const look = createRefusedLog({
    record,
    nft: {
      list: async (...what) => (what[3] === 'refused' ? state.listed : state.others.get(String(what[3]))),
    },
    table: 't',
    sandboxOf: (name) => (name === 'osbab12aa' ? { id: 'sb' } : undefined),
    now: () => now,
    log: createLogger({ program: 'test', write: (line) => void lines.push(line) }),
  })
  const show = (...elem: ReturnType<typeof element>[]) => {
    state.listed = [{ set: { name: 'refused', table: 't', elem } }]
  }
  return { lines, look, later, show, state, record }
}

test('tells of a refused connection once, and again when it comes back', async () => {
  const { lines, look, later, show } = setup()
  show(element('198.51.100.1', 443))
  expect(await look()).toBe(true)
  await look()
  expect(lines).toHaveLength(1)
  expect(lines[0]).toContain('sandbox=sb address=198.51.100.1 protocol=tcp port=443 verdict=deny')
  show()
  await look()
  later(60_000)
  show(element('198.51.100.1', 443), element('198.51.100.1', 0, 'icmp', 'osbab12zz'))
  await look()
  expect(lines).toHaveLength(3)
  expect(lines[2]).toContain('sandbox=osbab12zz address=198.51.100.1 protocol=icmp verdict=deny')
})

test('logs so much of each sandbox, whatever others were refused', async () => {
  const { lines, look, show, record } = setup()
  const flood = Array.from({ length: 120 }, (_, port) =>
    element('198.51.100.1', port + 1, 'tcp', 'osbab12zz'),
  )
  show(...flood, element('198.51.100.2', 443))
  await look()
  expect(lines).toHaveLength(101)
  expect(lines.at(-1)).toContain('sandbox=sb address=198.51.100.2')
  expect(record.page('sb', { after: 0, limit: 9 }).events).toHaveLength(1)
})

test('says that there was more than the kernel remembers', async () => {
  const { look, show, record } = setup()
  show(element('198.51.100.1', 443), element('0.0.0.0', 0))
  await look()
  const { events } = record.page('sb', { after: 0, limit: 9 })
  expect(events).toMatchObject([{ port: 443 }, { reason: expect.stringMatching(/^more was refused/) }])
  expect(events[1]).not.toHaveProperty('address')
})

test('says that the table has gone', async () => {
  const { look, state } = setup()
  state.listed = undefined
  expect(await look()).toBe(false)
})

test('what came from another address is in the record too, once', async () => {
  const { look, show, state, record } = setup()
  show()
  const entry = (...concat: unknown[]) => ({
    elem: { val: { concat: ['osbab12aa', ...concat] }, expires: 50 },
  })
  state.others.set('spoofed', [
    { set: { name: 'spoofed', table: 't', elem: [entry('10.88.0.9'), entry('0.0.0.0')] } },
  ])
  await look()
  await look()
  expect(record.page('sb', { after: 0, limit: 9 }).events).toMatchObject([
    {
      kind: 'connection',
      verdict: 'deny',
      reason: "it says that it comes from 10.88.0.9, which is not the sandbox's own",
    },
    // The address by which it is noted that there was more, when it is one that a packet has.
    { verdict: 'deny', reason: "it says that it comes from 0.0.0.0, which is not the sandbox's own" },
  ])
})

test('N2: what was refused of IPv6 is read where sandboxes have it, and its ICMP is called what rules call it', async () => {
  const asked: unknown[] = []
  const record = new DecisionRecord()
  const options = (ipv6: boolean) => ({
    record,
    nft: {
      list: async (...what: string[]) => {
        asked.push(what[3])
        const elem = what[3] === 'refused6' ? [element('2001:db8::1', 0, 'ipv6-icmp')] : []
        return [{ set: { name: String(what[3]), table: 't', elem } }]
      },
    },
    table: 't',
    ipv6,
    sandboxOf: () => ({ id: 'sb' }),
    log: createLogger({ program: 'test', write: () => {} }),
  })
  await createRefusedLog(options(false))()
  expect(asked).toEqual(['refused', 'spoofed'])
  await createRefusedLog(options(true))()
  expect(asked.slice(2)).toEqual(['refused', 'spoofed', 'refused6', 'spoofed6'])
  expect(record.page('sb', { after: 0, limit: 9 }).events).toMatchObject([
    { address: '2001:db8::1', protocol: 'icmp', verdict: 'deny' },
  ])
})

test('B2: frames of IPv6 where there is none, and of types that nobody takes, are in the record', async () => {
  const record = new DecisionRecord()
  const asked: unknown[] = []
  const state = { sees: true, gone: '' }
  const entry = (...concat: unknown[]) => ({
    elem: { val: { concat: ['osbab12aa', ...concat] }, expires: 50 },
  })
  const elements: Record<string, NftElement[]> = {
    frames: [element('2001:db8::1', 443), element('ff02::1', 0, 'ipv6-icmp'), element('::', 0, '255')],
    kinds: [entry('8021q'), entry('8021ad'), entry(0x88b5), entry('ip6'), entry(0), entry(1), entry('odd')],
  }
  const open = (ipv6: boolean) =>
    createRefusedLog({
      record,
      nft: {
        async list(...what: string[]) {
          const [, family, , name = ''] = what
          asked.push(`${family} ${name}`)
          return family === state.gone
            ? undefined
            : [{ set: { name, table: 't', elem: elements[name] ?? [] } }]
        },
      },
      table: 't',
      ipv6,
      seesFrames: () => state.sees,
      sandboxOf: () => ({ id: 'sb' }),
      explain: (_, { set }) => (set === 'frames' ? 'sandboxes have no IPv6' : undefined),
      log: createLogger({ program: 'test', write: () => {} }),
    })
  const look = open(false)
  expect([await look(), await look()]).toEqual([true, true])
  const { events } = record.page('sb', { after: 0, limit: 20 })
  const nobody = (what: string) => ({ verdict: 'deny', reason: `nobody takes a frame ${what}` })
  expect(events).toMatchObject([
    nobody('of type 0x8100'),
    nobody('of type 0x88a8'),
    nobody('of type 0x88b5'),
    nobody('of type 0x86dd'),
    nobody('without a type'),
    { reason: expect.stringMatching(/^more was refused/) },
    { address: '2001:db8::1', protocol: 'tcp', port: 443, reason: 'sandboxes have no IPv6' },
    { address: 'ff02::1', protocol: 'icmp', reason: 'sandboxes have no IPv6' },
    { reason: expect.stringMatching(/^more was refused/) },
  ])
  asked.length = 0
  await open(true)()
  // IPv6 that sandboxes have is judged with the rest.
  expect(asked).toContain('netdev kinds')
  expect(asked).not.toContain('netdev frames')
  state.gone = 'netdev'
  expect(await look()).toBe(false)
  state.sees = false
  expect(await look()).toBe(true)
})

test('N2: what a pod is refused of IPv6, which it has not, is in the record', async () => {
  const record = new DecisionRecord()
  const look = createRefusedLog({
    record,
    nft: {
      async list(...what: string[]) {
        const elem = what[3] === 'refused6' ? [element('2001:db8::1', 443, 'tcp', 'eth0')] : []
        return what[1] === 'inet' ? [{ set: { name: String(what[3]), table: 't', elem } }] : undefined
      },
    },
    table: 't',
    notesIpv6: true,
    sandboxOf: () => ({ id: 'sb' }),
    explain: (_, { set }) => `by ${set}`,
    log: createLogger({ program: 'test', write: () => {} }),
  })
  expect(await look()).toBe(true)
  expect(record.page('sb', { after: 0, limit: 9 }).events).toMatchObject([
    { address: '2001:db8::1', protocol: 'tcp', port: 443, verdict: 'deny', reason: 'by frames' },
  ])
})
