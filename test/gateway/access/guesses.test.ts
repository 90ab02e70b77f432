import { expect, test } from 'vitest'
import { Guesses } from '../../../gateway/access/guesses.ts'

function tries(guesses: Guesses, address: string, now: number): number {
  let count = 0
  for (; !guesses.isSuspect(address, now); count++) guesses.note(address, now)
  return count
}

test('G3: who has guessed wrong twenty times is not heard, and gets a try back every five seconds', () => {
  const guesses = new Guesses()
  expect(tries(guesses, '192.0.2.1', 1000)).toBe(20)
  expect(guesses.isSuspect('192.0.2.1', 5999)).toBe(true)
  expect(tries(guesses, '192.0.2.1', 6000)).toBe(1)
  expect(tries(guesses, '192.0.2.1', 16_000)).toBe(2)
  expect(tries(guesses, '192.0.2.1', 1_000_000)).toBe(20)
})

test('S25: of the 32 bits of a signature a source can try less than a thousand values in an hour', () => {
  const guesses = new Guesses()
  let heard = 0
  for (let now = 0; now < 3_600_000; now += 100) {
    if (guesses.isSuspect('192.0.2.1', now)) continue
    heard++
    guesses.note('192.0.2.1', now)
  }
  expect(heard).toBeGreaterThan(20)
  expect(heard).toBeLessThan(1000)
})

test('who goes on guessing has no more to wait for than who stopped', () => {
  const guesses = new Guesses()
  for (let at = 0; at < 10_000; at++) guesses.note('192.0.2.1', 0)
  expect(guesses.isSuspect('192.0.2.1', 4999)).toBe(true)
  expect(guesses.isSuspect('192.0.2.1', 5000)).toBe(false)
})

test('others are not held up, but for those of the same IPv6 network', () => {
  const guesses = new Guesses()
  tries(guesses, '192.0.2.1', 0)
  tries(guesses, '2001:db8:1:2::1', 0)
  expect(guesses.isSuspect('192.0.2.2', 0)).toBe(false)
  expect(guesses.isSuspect('2001:db8:1:2:ffff::2', 0)).toBe(true)
  expect(guesses.isSuspect('2001:db8:1:3::1', 0)).toBe(false)
  tries(guesses, '::1', 0)
  expect(guesses.isSuspect('::2', 0)).toBe(true)
  tries(guesses, 'fe80::1%eth0', 0)
  expect(guesses.isSuspect('fe80::2%eth1', 0)).toBe(true)
})

test('what is remembered has a bound, and who was seen last stays', () => {
  const guesses = new Guesses()
  tries(guesses, '192.0.2.1', 0)
  for (let at = 0; at < 9999; at++) guesses.note(`10.0.${at >> 8}.${at & 255}`, 0)
  expect(guesses.isSuspect('192.0.2.1', 0)).toBe(true)
  guesses.note('198.51.100.1', 0)
  expect(guesses.isSuspect('192.0.2.1', 0)).toBe(false)
})
