import { expect, test } from 'vitest'
import { type Batch, encodeBatch } from '../../../../egress/nft/netlink/encode-batch.ts'
import { readScript } from '../../../../egress/nft/netlink/read-script.ts'
import { readAttributes, readMessages } from '../../../../lib/netlink/read-messages.ts'

const FAMILIES = { inet: 1, netdev: 5 }
const FIRST = 100

function encode(...lines: string[]): Batch {
  const commands = readScript(lines.map((line) => `${line}\n`).join(''))
  if (!commands) throw new Error(`nft would have to read ${lines.join()}`)
  return encodeBatch(commands, FIRST)
}
const typesOf = ({ bytes }: Batch) => [...readMessages(bytes)].map(({ type }) => type & 0xff)

// The messages are what nft 1.0.6 sends to the kernel for the same line (`nft --debug=mnl`).
test.each([
  [
    'add chain inet opensandbox_ab12 forward-s1',
    '150001006f70656e73616e64626f785f61623132000000000f000300666f72776172642d73310000',
  ],
  [
    'flush chain inet opensandbox_ab12 forward-s1',
    '150001006f70656e73616e64626f785f61623132000000000f000200666f72776172642d73310000',
  ],
  [
    'add rule inet opensandbox_ab12 divert-s1 ip daddr { 10.1.2.9 } accept',
    '150001006f70656e73616e64626f785f61623132000000000e0002006469766572742d7331000000e400048024000180090001006d6574610000000014000280080002000000000f08000100000000012c00018008000100636d700020000280080001000000000108000200000000000c0003800500010002000000340001800c0001007061796c6f6164002400028008000100000000010800020000000001080003000000001008000400000000042c00018008000100636d700020000280080001000000000108000200000000000c000380080001000a010209300001800e000100696d6d6564696174650000001c0002800800010000000000100002800c0002800800010000000001',
  ],
  [
    'add rule inet opensandbox_ab12 input-s1 ip daddr { 192.0.2.7 } meta l4proto icmp meta mark set 190578688 accept',
    '150001006f70656e73616e64626f785f61623132000000000d000200696e7075742d7331000000008401048024000180090001006d6574610000000014000280080002000000000f08000100000000012c00018008000100636d700020000280080001000000000108000200000000000c0003800500010002000000340001800c0001007061796c6f6164002400028008000100000000010800020000000001080003000000001008000400000000042c00018008000100636d700020000280080001000000000108000200000000000c00038008000100c000020724000180090001006d6574610000000014000280080002000000001008000100000000012c00018008000100636d700020000280080001000000000108000200000000000c00038005000100010000002c0001800e000100696d6d6564696174650000001800028008000100000000010c0002800800010000005c0b24000180090001006d657461000000001400028008000200000000030800030000000001300001800e000100696d6d6564696174650000001c0002800800010000000000100002800c0002800800010000000001',
  ],
  [
    'add rule inet opensandbox_ab12 input-s1 goto refuse',
    '150001006f70656e73616e64626f785f61623132000000000d000200696e7075742d733100000000400004803c0001800e000100696d6d6564696174650000002800028008000100000000001c0002801800028008000100fffffffc0b0002007265667573650000',
  ],
  [
    'add rule inet opensandbox_ab12 reply-s1 ct mark 629069002 meta mark set 190578688 accept',
    '150001006f70656e73616e64626f785f61623132000000000d0002007265706c792d733100000000d000048020000180070001006374000014000280080002000000000308000100000000012c00018008000100636d700020000280080001000000000108000200000000000c00038008000100cad47e252c0001800e000100696d6d6564696174650000001800028008000100000000010c0002800800010000005c0b24000180090001006d657461000000001400028008000200000000030800030000000001300001800e000100696d6d6564696174650000001c0002800800010000000000100002800c0002800800010000000001',
  ],
  [
    'add chain netdev t osbab12g1 { type filter hook ingress device "osbab12g1" priority -500; policy accept; }',
    '06000100740000000e0003006f73626162313267310000000b00070066696c7465720000080005000000000124000480080001000000000008000200fffffe0c0e0003006f7362616231326731000000',
  ],
  ['flush chain netdev t osbab12g1', '06000100740000000e0002006f7362616231326731000000'],
  [
    'add rule netdev t osbab12g1 ether type != ip goto other',
    '06000100740000000e0002006f7362616231326731000000f000048024000180090001006d6574610000000014000280080002000000000808000100000000012c00018008000100636d700020000280080001000000000108000200000000000c0003800600010001000000340001800c0001007061796c6f6164002400028008000100000000010800020000000000080003000000000c08000400000000022c00018008000100636d700020000280080001000000000108000200000000010c00038006000100080000003c0001800e000100696d6d6564696174650000002800028008000100000000001c0002801800028008000100fffffffc0a0002006f74686572000000',
  ],
])('"%s" is written as nft writes it', (line, sent) => {
  const [begin, only, end, ...more] = readMessages(encode(line).bytes)
  expect(more).toEqual([])
  expect([begin?.type, end?.type]).toEqual([16, 17])
  const family = line.includes(' netdev ') ? FAMILIES.netdev : FAMILIES.inet
  expect(only?.body.subarray(0, 4)).toEqual(Buffer.from([family, 0, 0, 0]))
  expect(only?.body.subarray(4).toString('hex')).toBe(sent)
})

test('what is compared with several values becomes a set, filled before the rule that goes by it', () => {
  const batch = encode('add rule inet t c ip daddr { 192.0.2.1, 192.0.2.3 } tcp dport { 1-10, 443 } accept')
  const [newSet, newElement, newRule] = [9, 12, 6]
  expect(typesOf(batch)).toEqual([16, newSet, newElement, newSet, newElement, newRule, 17])
  const sets = [...readMessages(batch.bytes)]
    .filter(({ type }) => (type & 0xff) === newSet)
    .map(({ body }) => readAttributes(body.subarray(4)))
    .map((found) => [found.get(3)?.readUInt32BE(), found.get(10)?.readUInt32BE()])
  const anonymousAndConstant = 3
  const interval = 4
  expect(sets).toEqual([
    [anonymousAndConstant, 1],
    [anonymousAndConstant | interval, 2],
  ])
})

test.each([
  ['from the middle', '10-20, 30-30', ['000a', 'end 0015', '001e', 'end 001f'], true],
  ['from the beginning', '0-20', [], false],
  ['from the beginning, among others', '0-20, 30', ['0000', 'end 0015', '001e', 'end 001f'], false],
  ['to the end', '10, 65000-65535', ['000a', 'end 000b', 'fde8'], true],
])('ranges %s', (_what, ports, bounds, hasBefore) => {
  const batch = encode(`add rule inet t c th dport { ${ports} } accept`)
  const elements = [...readMessages(batch.bytes)].find(({ type }) => (type & 0xff) === 12)
  const list = elements && readAttributes(elements.body.subarray(4)).get(3)
  expect(list ? boundsIn(list) : []).toEqual(hasBefore ? ['end 0000', ...bounds] : bounds)
})

test('more elements than an attribute holds are sent in several messages', () => {
  const addresses = Array.from({ length: 4000 }, (_, n) => `198.51.${n >> 8}.${n & 255} timeout 60s`)
  const batch = encode(`add element inet t s { ${addresses.join(', ')} }`)
  const messages = [...readMessages(batch.bytes)].slice(1, -1)
  expect(messages.length).toBeGreaterThan(1)
  const counts = messages.map(({ body }) => {
    const list = readAttributes(body.subarray(4)).get(3) ?? Buffer.alloc(0)
    return list.length / (4 + 12 + 12)
  })
  expect(counts.reduce((sum, count) => sum + count, 0)).toBe(addresses.length)
})

test('the first message asks for the generation and the last for a confirmation', () => {
  const batch = encode('add chain inet t a', 'add chain inet t b', 'delete chain inet t c')
  const flags = [...readMessages(batch.bytes)].map((each) => each.flags)
  const [echo, acknowledge, create] = [0x08, 0x04, 0x400]
  expect(flags).toEqual([1, 1 | create | echo, 1 | create, 1 | acknowledge, 1])
  expect(batch.lastSequence).toBe(FIRST + 3)
})

function boundsIn(list: Buffer): string[] {
  const bounds: string[] = []
  for (let at = 0; at < list.length; at += list.readUInt16LE(at)) {
    const element = readAttributes(list.subarray(at + 4, at + list.readUInt16LE(at)))
    const value = readAttributes(element.get(1) ?? Buffer.alloc(0)).get(1)
    bounds.push(`${element.has(3) ? 'end ' : ''}${value?.toString('hex')}`)
  }
  return bounds
}
