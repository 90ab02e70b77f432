import { describe, expect, test } from 'vitest'
import {
  countCpus,
  countSockets,
  parseMeminfo,
  parseNetDev,
  parseProcStat,
} from '../../../execd/metrics/proc.ts'

test.each([
  ['0', 1],
  ['0-3', 4],
  ['0-1,4,8-11', 7],
])('countCpus(%j) is %i', (list, cpus) => {
  expect(countCpus(list)).toBe(cpus)
})

test('parseMeminfo() gives bytes, and nothing for what is not there', () => {
  const text = 'MemTotal:       24684096 kB\nMemFree:        22775132 kB\nMemAvailable:   24158884 kB\n'
  expect(parseMeminfo(text, 'MemTotal')).toBe(24_684_096 * 1024)
  expect(parseMeminfo(text, 'MemAvailable')).toBe(24_158_884 * 1024)
  expect(parseMeminfo(text, 'Mem')).toBeUndefined()
})

test('parseProcStat() adds up what the CPUs did, without idling and waiting for disks', () => {
  const text =
    'cpu  100 10 50 9000 70 1 2 3 40 0\ncpu0 50 5 25 4500 35 1 1 1 0 0\ncpu1 50 5 25 4500 35 0 1 2 0 0\n'
  expect(parseProcStat(text)).toEqual({ usedMs: 1630, cpus: 2 })
  expect(parseProcStat('')).toBeUndefined()
})

test('parseNetDev() adds up every interface but the loopback', () => {
  const text = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 183730102    7033    0    0    0     0          0         0 183730102    7033    0    0    0     0       0          0
  eth0: 891437132   20364    0    0    0     0          0         0  1391275   13172    0    0    0     0       0          0
  eth1:5 1 0 0 0 0 0 0 7 1 0 0 0 0 0 0
`
  expect(parseNetDev(text)).toEqual({ received: 891_437_137, sent: 1_391_282 })
})

describe('countSockets()', () => {
  const text = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:AEE4 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1
   1: 0100007F:AEE4 0100007F:D1A2 01 00000000:00000000 00:00000000 00000000     0        0 2 1
   2: 0100007F:D1A2 0100007F:AEE4 06 00000000:00000000 00:00000000 00000000     0        0 3 1
`
  test('counts all, or those of one state', () => {
    expect(countSockets(text)).toBe(3)
    expect(countSockets(text, '01')).toBe(1)
  })
  test('counts none of nothing', () => expect(countSockets('')).toBe(0))
})
