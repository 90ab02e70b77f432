import dnsPacket, { type Answer } from 'dns-packet'
import { expect, test } from 'vitest'
import { createAnswerer } from '../../../egress/dns/answer.ts'
import { createDnsMeter } from '../../../egress/dns/limits.ts'
import { createResolver } from '../../../egress/dns/resolve.ts'
import { Learned } from '../../../egress/learned.ts'
import { compilePolicy } from '../../../egress/policy/compile.ts'
import { decideName } from '../../../egress/policy/decide.ts'
import { DecisionRecord } from '../../../egress/record.ts'
import type { Sandbox } from '../../../egress/sandbox-table.ts'
import type { NetworkRule } from '../../../lib/api/network-policy.ts'
import { createLogger } from '../../../lib/log.ts'

const A: Answer = { type: 'A', name: 'good.example', ttl: 900, data: '198.51.100.1' }

function setup({
  ask = async () => ({ rcode: 0, answers: [A] }),
  learn = async () => true,
  maxPerSandbox = 256,
  rules = [{ action: 'allow', target: 'good.example' }],
  textPerMinute = 10,
}: {
  ask?: (question: { name: string; type: string }) => Promise<{ rcode: number; answers: Answer[] }>
  learn?: (...args: unknown[]) => Promise<boolean>
  maxPerSandbox?: number
  rules?: NetworkRule[]
  textPerMinute?: number
} = {}) {
  const sandbox: Sandbox = {
    id: 'sb',
    address: '10.88.0.5',
    interface: 'osb0000aa',
    token: 'x',
    isDefault: false,
    policy: compilePolicy({ defaultAction: 'deny', egress: rules }),
    coming: undefined,
    learned: new Learned(),
  }
  const events: string[] = []
  const lines: string[] = []
  let now = 0
  const record = new DecisionRecord()
  const denied: string[] = []
  const sandboxes = {
    byAddress: (address: string) => (address === sandbox.address ? sandbox : undefined),
  }
  const limits = {
    queriesPerSecond: 100,
    burst: 500,
    namesPerZonePerMinute: 300,
    encodedNamesPerZonePerMinute: 30,
    textPerMinute,
  }
  const resolve = createResolver({
    record,
    meter: createDnsMeter(limits, () => now),
    own: new Map([['proxy.internal', '10.88.0.1']]),
    onDenied: ({ id }, name) => denied.push(`${id} ${name}`),
    sandboxes: {
      ...sandboxes,
      decide: (one, name) => decideName(one.policy, name),
      learn: async (_, name, addresses, ttl) => {
        events.push(`learn ${name} ${addresses.join(',')} ${ttl}`)
        return learn()
      },
    },
    upstream: {
      ask: async (question) => {
        events.push(`ask ${question.type} ${question.name}`)
        return ask(question)
      },
    },
    log: createLogger({ program: 'test', write: (line) => void lines.push(line) }),
    signal: new AbortController().signal,
    now: () => now,
  })
  const answer = createAnswerer({ sandboxes, resolve, maxPerSandbox })
  const query = async (name: string, type = 'A', source = sandbox.address) => {
    const message = dnsPacket.encode({ type: 'query', id: 3, questions: [{ type: type as 'A', name }] })
    const reply = await answer(message, source, 'udp')
    return reply && { rcode: reply.readUInt16BE(2) & 15, answers: dnsPacket.decode(reply).answers ?? [] }
  }
  const later = (ms: number) => {
    now += ms
  }
  return { query, answer, events, lines, later, record, denied }
}

test('an allowed name is asked, learned, and answered, in this order, and not for longer than it is open', async () => {
  const { query, events, record } = setup()
  const reply = await query('Good.Example')
  expect(record.page('sb', { after: 0, limit: 9 }).events).toMatchObject([
    { kind: 'name', verdict: 'allow', name: 'good.example', reason: 'rule 0', rule: 'good.example' },
  ])
  expect(events).toEqual(['ask A good.example', 'learn good.example 198.51.100.1 300'])
  expect(reply).toMatchObject({ rcode: 0, answers: [{ data: '198.51.100.1', ttl: 300 }] })
})

test('a denied name is NXDOMAIN, is not asked, and is in the log once for A and AAAA together', async () => {
  const { query, events, lines } = setup()
  expect(await query('bad.example')).toEqual({ rcode: 3, answers: [] })
  expect(await query('bad.example', 'AAAA')).toEqual({ rcode: 3, answers: [] })
  expect(events).toEqual([])
  expect(lines).toHaveLength(1)
  expect(lines[0]).toContain('sandbox=sb name=bad.example type=A verdict=deny reason="no rule matches')
})

test('a source that nobody registered gets no answer', async () => {
  const { query, events } = setup()
  expect(await query('good.example', 'A', '10.88.0.6')).toBeUndefined()
  expect(events).toEqual([])
})

test.each([
  ['AAAA', 0],
  ['UNKNOWN_65', 0],
  ['ANY', 5],
])(
  'N13: type %s of an allowed name is answered with code %i and nothing, without asking',
  async (type, rcode) => {
    const { query, events } = setup()
    expect(await query('good.example', type)).toEqual({ rcode, answers: [] })
    expect(events).toEqual([])
  },
)

test('N2: closed addresses are taken out, and the log says which', async () => {
  const { query, lines, events } = setup({
    ask: async () => ({ rcode: 0, answers: [{ ...A, data: '169.254.169.254' }] }),
  })
  expect(await query('good.example')).toEqual({ rcode: 0, answers: [] })
  expect(events).toEqual(['ask A good.example'])
  expect(lines[0]).toContain('its address 169.254.169.254 is closed (link-local) and no rule opens it')
})

test('when the address cannot be opened, the answer is a failure and not a hang', async () => {
  const { query } = setup({ learn: async () => false })
  expect(await query('good.example')).toEqual({ rcode: 2, answers: [] })
})

test('when no server answers, that is a failure with a line in the log', async () => {
  const { query, lines } = setup({
    ask: async () => {
      throw new Error('192.0.2.53: did not answer in time')
    },
  })
  expect(await query('good.example')).toEqual({ rcode: 2, answers: [] })
  expect(lines[0]).toContain('cannot resolve sandbox=sb name=good.example')
})

test('one sandbox has so many questions at once and no more', async () => {
  let release = () => {}
  const held = new Promise<void>((resolve) => {
    release = resolve
  })
  const { query } = setup({
    maxPerSandbox: 2,
    ask: async () => {
      await held
      return { rcode: 0, answers: [A] }
    },
  })
  const running = [query('good.example'), query('good.example')]
  expect(await query('good.example')).toEqual({ rcode: 2, answers: [] })
  release()
  expect(await Promise.all(running)).toMatchObject([{ rcode: 0 }, { rcode: 0 }])
  expect(await query('good.example')).toMatchObject({ rcode: 0 })
})

test('a sandbox cannot fill the log: what is left out is counted', async () => {
  const { query, lines, later } = setup()
  for (let count = 0; count < 150; count++) await query(`n${count}.example`)
  expect(lines).toHaveLength(100)
  later(10_000)
  await query('later.example')
  expect(lines).toHaveLength(101)
  expect(lines[100]).toContain('unsaid=50')
})

test('a malformed question is told so', async () => {
  const { answer } = setup()
  const reply = await answer(Buffer.from('000901000001000000000000ff', 'hex'), '10.88.0.5', 'udp')
  expect(reply && reply.readUInt16BE(2) & 15).toBe(1)
})

test('O3: a denied name is told from a typo: NXDOMAIN with how long it holds, and why, and it is told on', async () => {
  const { answer, denied } = setup()
  const message = dnsPacket.encode({
    type: 'query',
    id: 3,
    questions: [{ type: 'A', name: 'www.bad.example' }],
    additionals: [
      {
        type: 'OPT',
        name: '.',
        udpPayloadSize: 1232,
        extendedRcode: 0,
        ednsVersion: 0,
        flags: 0,
        flag_do: false,
        options: [],
      },
    ],
  })
  const reply = dnsPacket.decode((await answer(message, '10.88.0.5', 'udp')) ?? Buffer.alloc(0))
  expect(reply.authorities).toMatchObject([
    { type: 'SOA', name: 'bad.example', ttl: 5, data: { minimum: 5 } },
  ])
  const [opt] = reply.additionals ?? []
  const [option] = opt?.type === 'OPT' ? opt.options : []
  expect(option).toMatchObject({ code: 15 })
  expect(String(option && 'data' in option ? option.data : '')).toContain('no rule matches')
  expect(denied).toEqual(['sb www.bad.example'])
})

test.each([
  ['directly', [['good.example', 'bad.example']]],
  [
    'behind another',
    [
      ['good.example', 'cdn.example'],
      ['cdn.example', 'bad.example'],
    ],
  ],
  [
    'in another order',
    [
      ['cdn.example', 'bad.example'],
      ['good.example', 'cdn.example'],
    ],
  ],
] as [string, [string, string][]][])(
  'N4: an alias for a name that a rule denies is denied: %s',
  async (_, chain) => {
    const { query, events, record, denied } = setup({
      rules: [
        { action: 'allow', target: 'good.example' },
        { action: 'deny', target: 'bad.example' },
      ],
      ask: async () => ({
        rcode: 0,
        answers: [
          ...chain.map(([name, data]): Answer => ({ type: 'CNAME', name, ttl: 60, data })),
          { ...A, name: 'bad.example' },
        ],
      }),
    })
    expect(await query('good.example')).toEqual({ rcode: 3, answers: [] })
    expect(events).toEqual(['ask A good.example'])
    expect(record.page('sb', { after: 0, limit: 9 }).events).toMatchObject([
      {
        verdict: 'deny',
        name: 'good.example',
        rule: 'bad.example',
        reason: 'it is an alias for bad.example: rule 1',
      },
    ])
    expect(denied).toEqual(['sb good.example'])
  },
)

test("N4: an alias that no rule names is its owner's to say", async () => {
  const { query } = setup({
    ask: async () => ({
      rcode: 0,
      answers: [
        { type: 'CNAME', name: 'good.example', ttl: 0, data: 'cdn.example' },
        { ...A, name: 'cdn.example', ttl: 0 },
      ],
    }),
  })
  // A TTL of zero would have it asked for again and again.
  expect(await query('good.example')).toMatchObject({ rcode: 0, answers: [{ ttl: 5 }, { ttl: 5 }] })
})

test('N8: what is over a limit is refused, and is in the record with how often', async () => {
  const { query, events, record, later } = setup({
    textPerMinute: 2,
    ask: async () => ({ rcode: 0, answers: [] }),
  })
  const codes = []
  for (let count = 0; count < 5; count++) codes.push((await query('good.example', 'TXT'))?.rcode)
  expect(codes).toEqual([0, 0, 5, 5, 5])
  expect(events).toHaveLength(2)
  later(2000)
  await query('good.example', 'TXT')
  expect(record.page('sb', { after: 0, limit: 9 }).events).toMatchObject([
    { verdict: 'deny', reason: 'more than 2 questions for texts a minute (text limit)' },
    { count: 3 },
  ])
  later(60_000)
  expect(await query('good.example', 'TXT')).toMatchObject({ rcode: 0 })
})

test('the proxy has a name, which nobody is asked for', async () => {
  const { query, events } = setup()
  expect(await query('proxy.internal')).toMatchObject({ rcode: 0, answers: [{ data: '10.88.0.1' }] })
  expect(await query('proxy.internal', 'AAAA')).toEqual({ rcode: 0, answers: [] })
  expect(events).toEqual([])
})
