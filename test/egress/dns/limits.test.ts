import { expect, test } from 'vitest'
import { bitsPerCharacter, createDnsMeter, looksEncoded, zoneOf } from '../../../egress/dns/limits.ts'

const LIMITS = {
  queriesPerSecond: 10,
  burst: 20,
  namesPerZonePerMinute: 5,
  encodedNamesPerZonePerMinute: 2,
  textPerMinute: 3,
}

function setup(limits = LIMITS) {
  let now = 0
  const meter = createDnsMeter(limits, () => now)
  const later = (ms: number) => {
    now += ms
  }
  return { meter, later }
}
const data = (index: number) => `mzxw6ytboi2gk3tuebxw63lf${String(index).padStart(4, 'q')}.t.example`

test('N8: so many questions at once, then so many a second, each sandbox for itself', () => {
  const { meter, later } = setup()
  const refused = (id: string, count: number) =>
    Array.from({ length: count }, () => meter.question(id)).filter((over) => over !== undefined)
  expect(refused('a', 20)).toEqual([])
  expect(refused('a', 3)).toEqual([
    { reason: 'more than 10 questions a second (rate limit)', count: 1 },
    { reason: 'more than 10 questions a second (rate limit)' },
    { reason: 'more than 10 questions a second (rate limit)' },
  ])
  expect(refused('b', 20)).toEqual([])
  later(1000)
  expect(refused('a', 11)).toEqual([{ reason: 'more than 10 questions a second (rate limit)', count: 3 }])
})

test('N8: so many different names below one registrable domain a minute; known ones go on', () => {
  const { meter, later } = setup()
  for (let index = 0; index < 5; index++)
    expect(meter.forward('a', `n${index}.x.evil.co.uk`, 'A')).toBeUndefined()
  expect(meter.forward('a', 'more.y.evil.co.uk', 'A')?.reason).toBe(
    'more than 5 different names below evil.co.uk a minute (name limit)',
  )
  expect(meter.forward('a', 'n0.x.evil.co.uk', 'A')).toBeUndefined()
  expect(meter.forward('a', 'n0.other.co.uk', 'A')).toBeUndefined()
  later(60_000)
  expect(meter.forward('a', 'more.y.evil.co.uk', 'A')).toBeUndefined()
})

test('N8: fewer of them when they look like data', () => {
  const { meter } = setup()
  expect(meter.forward('a', data(1), 'A')).toBeUndefined()
  expect(meter.forward('a', data(2), 'A')).toBeUndefined()
  expect(meter.forward('a', data(3), 'A')?.reason).toBe(
    'more than 2 names below t.example a minute that look like data (tunnel limit)',
  )
  expect(meter.forward('a', 'www.t.example', 'A')).toBeUndefined()
})

test('N8: texts have a limit of their own, under whatever names', () => {
  const { meter } = setup()
  for (let index = 0; index < 3; index++)
    expect(meter.forward('a', `n${index}.example`, 'TXT')).toBeUndefined()
  expect(meter.forward('a', 'n9.example', 'TXT')?.reason).toMatch(/texts a minute \(text limit\)/)
  expect(meter.forward('a', 'n9.example', 'A')).toBeUndefined()
})

test('many domains do not make room for more names below one', () => {
  const { meter } = setup()
  const names = (from: number) => {
    for (let index = from; index < from + 3; index++) meter.forward('a', `n${index}.evil.example`, 'A')
  }
  names(0)
  for (let index = 0; index < 3000; index++) meter.forward('a', `d${index}.example`, 'A')
  names(3)
  expect(meter.forward('a', 'n9.evil.example', 'A')?.reason).toContain('evil.example')
  meter.remove('a')
  expect(meter.forward('a', 'n9.evil.example', 'A')).toBeUndefined()
})

test.each([
  ['a.b.example.com', 'example.com'],
  ['a.b.example.co.uk', 'example.co.uk'],
  ['a.user.github.io', 'user.github.io'],
  ['example', 'example'],
  ['_srv._tcp.example.com', 'example.com'],
])('the registrable domain of %s is %s', (name, zone) => {
  expect(zoneOf(name)).toBe(zone)
})

test.each([
  ['www.example.com', false],
  ['registry-1.docker.example.com', false],
  ['a-rather-long-name-of-a-host.example.com', true],
  ['aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.example.com', false],
  ['0123456789abcdef01234567.example.com', true],
  ['0123456789abcdef0123456.example.com', false],
  ['a.b.c.d.e.f.g.h.example.com', true],
  [`${'ab.'.repeat(6)}${'a'.repeat(62)}.example.com`, true],
  ['example.com', false],
])('%s looks like data: %s', (name, isData) => {
  expect(looksEncoded(name, 'example.com')).toBe(isData)
})

test('a text of one character says nothing, one of sixteen in equal parts four bits each', () => {
  expect(bitsPerCharacter('aaaa')).toBeCloseTo(0)
  expect(bitsPerCharacter('0123456789abcdef')).toBe(4)
})
