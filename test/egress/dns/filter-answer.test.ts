import type { Answer } from 'dns-packet'
import { describe, expect, test } from 'vitest'
import { filterAnswer } from '../../../egress/dns/filter-answer.ts'
import { withTtl } from '../../../egress/dns/ttl.ts'
import { compilePolicy } from '../../../egress/policy/compile.ts'

const policy = (...allowed: string[]) =>
  compilePolicy({
    defaultAction: 'deny',
    egress: allowed.map((target) => ({ action: 'allow' as const, target })),
  })

describe('filterAnswer() of IPv6', () => {
  const aaaa = (data: string): Answer => ({ type: 'AAAA', name: 'a.example', ttl: 60, data })

  test('N2: gives addresses in the one form that is compared, and withholds closed ones in every disguise', () => {
    const closed = [
      'fd00::1',
      'fe80::1',
      '::1',
      '::',
      '::ffff:198.51.100.1',
      '64:ff9b::a9fe:a9fe',
      '64:ff9b:1::1',
    ]
    const withheld = [
      ...closed,
      '2002:a00:1::1',
      '2001::1',
      'fec0::1',
      'ff02::1',
      'fd00:ec2::254',
      '198.51.100.1',
    ]
    const { addresses, ...rest } = filterAnswer(policy(), {
      name: 'a.example',
      type: 'AAAA',
      answers: ['2001:DB8:0:0:0:0:0:1', '64:ff9b::198.51.100.1', ...withheld].map(aaaa),
    })
    expect(addresses).toEqual(['2001:db8::1', '64:ff9b::c633:6401'])
    expect(rest.withheld).toEqual(withheld)
    expect(rest.answers).toHaveLength(2)
  })

  test('N2: an answer to one kind of question has no addresses of the other', () => {
    const { answers } = filterAnswer(policy(), {
      name: 'a.example',
      type: 'A',
      answers: [aaaa('2001:db8::1')],
    })
    expect(answers).toEqual([])
  })
})

describe('filterAnswer()', () => {
  const a = (name: string, data: string, ttl = 60): Answer => ({ type: 'A', name, ttl, data })
  const cname = (name: string, data: string, ttl = 60): Answer => ({ type: 'CNAME', name, ttl, data })

  test('follows aliases, in whatever order they stand', () => {
    const answers = [
      a('c.example', '198.51.100.1'),
      cname('B.example', 'c.example.'),
      cname('a.example', 'b.example'),
    ]
    expect(filterAnswer(policy(), { name: 'a.example', type: 'A', answers })).toMatchObject({
      answers,
      addresses: ['198.51.100.1'],
    })
  })

  test('takes out records of other names and types', () => {
    const answers: Answer[] = [
      a('a.example', '198.51.100.1'),
      a('other.example', '198.51.100.2'),
      { type: 'TXT', name: 'a.example', ttl: 60, data: 'x' },
    ]
    expect(filterAnswer(policy(), { name: 'a.example', type: 'A', answers })).toMatchObject({
      answers: [answers[0]],
      addresses: ['198.51.100.1'],
    })
  })

  test.each([
    '127.0.0.1',
    '10.0.0.1',
    '169.254.169.254',
    '0.0.0.0',
    '100.64.0.1',
    '192.168.0.1',
    '224.0.0.1',
  ])('takes out %s, which no name may open', (address) => {
    const answers = [a('a.example', address), a('a.example', '198.51.100.1')]
    expect(filterAnswer(policy('a.example'), { name: 'a.example', type: 'A', answers })).toMatchObject({
      addresses: ['198.51.100.1'],
      withheld: [address],
    })
    expect(filterAnswer(policy(address), { name: 'a.example', type: 'A', answers })).toMatchObject({
      addresses: [address, '198.51.100.1'],
      withheld: [],
    })
  })

  test('is good for as long as its shortest record', () => {
    const answers = [cname('a.example', 'b.example', 20), a('b.example', '198.51.100.1', 86_400)]
    expect(filterAnswer(policy(), { name: 'a.example', type: 'A', answers }).ttl).toBe(20)
    expect(filterAnswer(policy(), { name: 'b.example', type: 'A', answers }).ttl).toBe(300)
  })

  test('R5: a time to live above 2^31 counts as none, and none as a few seconds', () => {
    expect(withTtl([a('a.example', '198.51.100.1', 2 ** 31)], 300)).toEqual([
      a('a.example', '198.51.100.1', 5),
    ])
  })
})
