import { expect, test } from 'vitest'
import {
  closedRanges,
  closedReason,
  formatRange,
  mergeRanges,
  parseRange,
} from '../../../egress/policy/addresses.ts'

// The last address before a range, its first, its last, the one after.
test.each([
  ['0.0.0.0', 'this network'],
  ['0.255.255.255', 'this network'],
  ['1.0.0.0', undefined],
  ['9.255.255.255', undefined],
  ['10.0.0.0', 'private'],
  ['10.255.255.255', 'private'],
  ['11.0.0.0', undefined],
  ['100.63.255.255', undefined],
  ['100.64.0.0', 'shared by carriers'],
  ['100.100.100.200', 'shared by carriers'],
  ['100.127.255.255', 'shared by carriers'],
  ['100.128.0.0', undefined],
  ['126.255.255.255', undefined],
  ['127.0.0.1', 'loopback'],
  ['128.0.0.0', undefined],
  ['168.63.129.15', undefined],
  ['168.63.129.16', 'metadata'],
  ['168.63.129.17', undefined],
  ['169.253.255.255', undefined],
  ['169.254.169.254', 'link-local'],
  ['169.255.0.0', undefined],
  ['172.15.255.255', undefined],
  ['172.16.0.0', 'private'],
  ['172.31.255.255', 'private'],
  ['172.32.0.0', undefined],
  ['192.0.0.192', 'protocol assignments'],
  ['192.0.1.0', undefined],
  ['192.88.98.255', undefined],
  ['192.88.99.1', 'relays of 6to4'],
  ['192.88.100.0', undefined],
  ['192.167.255.255', undefined],
  ['192.168.0.0', 'private'],
  ['192.168.255.255', 'private'],
  ['192.169.0.0', undefined],
  ['198.17.255.255', undefined],
  ['198.18.0.0', 'benchmarks'],
  ['198.19.255.255', 'benchmarks'],
  ['198.20.0.0', undefined],
  ['169.254.170.2', 'link-local'],
  ['223.255.255.255', undefined],
  ['224.0.0.0', 'multicast'],
  ['239.255.255.255', 'multicast'],
  ['240.0.0.0', 'reserved'],
  ['255.255.255.255', 'reserved'],
  // Documentation ranges are not closed.
  ['192.0.2.1', undefined],
  ['198.51.100.1', undefined],
  ['203.0.113.80', undefined],
])('%s is closed for being %s', (address, reason) => {
  expect(closedReason(address)).toBe(reason)
})

test('mergeRanges() joins what overlaps, lies within, or touches', () => {
  const merged = mergeRanges(
    ['10.1.0.0/16', '10.0.0.0/16', '10.1.2.3', '10.3.0.0/16', '0.0.0.0/8', '255.255.255.255'].map(parseRange),
  )
  expect(merged.map(formatRange)).toEqual([
    '0.0.0.0-0.255.255.255',
    '10.0.0.0-10.1.255.255',
    '10.3.0.0-10.3.255.255',
    '255.255.255.255',
  ])
  expect(mergeRanges([parseRange('0.0.0.0/0'), parseRange('10.0.0.0/8')]).map(formatRange)).toEqual([
    '0.0.0.0-255.255.255.255',
  ])
})

test('the closed ranges do not overlap, as an nft set wants it', () => {
  for (const [index, range] of closedRanges.entries())
    expect(range.first).toBeGreaterThan(closedRanges[index - 1]?.last ?? -1)
})
