import { expect, test } from 'vitest'
import { parseRange } from '../../../egress/policy/addresses.ts'
import {
  closedRanges6,
  closedReason6,
  covers6,
  formatRange6,
  imagesOf,
  mergeRanges6,
  openedBy6,
  parseRange6,
  subtractRanges6,
  translatedOf,
} from '../../../egress/policy/addresses6.ts'

test.each([
  ['::', 'unspecified'],
  ['::1', 'loopback'],
  ['::2', 'IPv4-compatible 0.0.0.2: this network'],
  ['::ffff:10.0.0.1', 'mapped 10.0.0.1: private'],
  ['::ffff:169.254.169.254', 'mapped 169.254.169.254: link-local'],
  ['::ffff:198.51.100.1', 'mapped 198.51.100.1'],
  ['::ffff:0:7f00:1', 'translated 127.0.0.1: loopback'],
  ['64:ff9b::a9fe:a9fe', 'NAT64 169.254.169.254: link-local'],
  ['64:ff9b::198.51.100.1', undefined],
  ['64:ff9b::a83f:8110', 'NAT64 168.63.129.16: metadata'],
  ['64:ff9b:1::1', 'local NAT64'],
  ['64:ff9b:1:ffff:ffff:ffff:ffff:ffff', 'local NAT64'],
  ['64:ff9b:2::1', 'not assigned'],
  ['2002:a9fe:a9fe::1', '6to4 169.254.169.254: link-local'],
  ['2002:a00:1::', '6to4 10.0.0.1: private'],
  ['2002:c633:6401::1', undefined],
  ['2003::1', undefined],
  ['2001:0:4136:e378::', 'Teredo'],
  ['2001:1::1', undefined],
  ['2001:db8::1', undefined],
  ['1fff:ffff::1', 'not assigned'],
  ['3fff:ffff::1', undefined],
  ['4000::', 'not assigned'],
  ['fbff:ffff::1', 'not assigned'],
  ['fc00::', 'private'],
  ['fd00:ec2::254', 'metadata'],
  ['fd20:ce::254', 'metadata'],
  ['fd00:ec2::255', 'private'],
  ['fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', 'private'],
  ['fe7f::1', 'not assigned'],
  ['fe80::1', 'link-local'],
  ['fe80::1%eth0', 'link-local'],
  ['febf::1', 'link-local'],
  ['fec0::1', 'site-local'],
  ['ff02::1', 'multicast'],
  ['2606:4700:4700::1111', undefined],
])('N2: %s is closed for being %s', (address, reason) => {
  expect(closedReason6(address)).toBe(reason)
  // What the kernel is told, and what is said, are the same.
  expect(covers6(closedRanges6, address)).toBe(reason !== undefined)
})

test.each([
  ['64:ff9b::a00:1', { kind: 'NAT64', inside: '10.0.0.1' }],
  ['64:ff9b::1:a00:1', undefined],
  ['2002:a00:1:ffff::9', { kind: '6to4', inside: '10.0.0.1' }],
  ['2001:db8::a00:1', undefined],
  ['::ffff:10.0.0.1', undefined],
])('N2: a translator makes of %s %j', (address, translated) => {
  expect(translatedOf(address)).toEqual(translated)
})

test('N2: by which IPv6 addresses a range of IPv4 is reached', () => {
  expect(imagesOf(parseRange('10.0.0.0/8')).map(formatRange6)).toEqual([
    '64:ff9b::a00:0-64:ff9b::aff:ffff',
    '2002:a00::-2002:aff:ffff:ffff:ffff:ffff:ffff:ffff',
  ])
  expect(imagesOf(parseRange('0.0.0.0/0'))).toEqual([parseRange6('64:ff9b::/96'), parseRange6('2002::/16')])
})

test.each([
  ['::/0', '2001:db8::1', true],
  ['::/0', 'fd00::1', true],
  ['::/0', 'fd00:ec2::254', false],
  ['fd00:ec2::/32', 'fd00:ec2::254', false],
  ['fd00:ec2::254', 'fd00:ec2::254', true],
  ['::/0', '64:ff9b::808:808', false],
  ['64:ff9b::808:808', '64:ff9b::808:808', false],
  ['64:ff9b:1::/48', '64:ff9b:1::808:808', false],
  ['2002:808:808::/48', '2002:808:808::1', false],
  ['2001::/32', '2001::1', false],
  ['fe80::/10', 'fe80::1', false],
  ['fec0::1', 'fec0::1', false],
  ['ff00::/8', 'ff02::1', false],
])('N2: a rule that allows %s, and %s: %s', (target, address, isOpen) => {
  expect(covers6(openedBy6([parseRange6(target)]), address)).toBe(isOpen)
})

test('ranges are joined, and others taken out of them', () => {
  const range = parseRange6
  expect(mergeRanges6([range('2001:db8:1::/48'), range('2001:db8::/48'), range('2001:db8::7')])).toEqual([
    range('2001:db8::/47'),
  ])
  const left = subtractRanges6([range('2001:db8::/126')], [range('2001:db8::1'), range('2001:db8::3')])
  expect(left.map(formatRange6)).toEqual(['2001:db8::', '2001:db8::2'])
  expect(subtractRanges6([range('2001:db8::/64')], [range('2001:db8::/32')])).toEqual([])
  expect(subtractRanges6([range('2001:db8::/64')], [range('2001:db9::/32')])).toEqual([
    range('2001:db8::/64'),
  ])
})
