import { describe, expect, test } from 'vitest'
import { Flows } from '../../egress/connections/flows.ts'
import { NO_FLOOR } from '../../egress/policy/compile.ts'
import type { NetworkPolicy } from '../../lib/api/network-policy.ts'
import { createFakeKernel } from './fake-kernel.ts'

const allow = (...targets: string[]): NetworkPolicy => ({
  defaultAction: 'deny',
  egress: targets.map((target) => ({ action: 'allow', target })),
})
const registration = (last: number, policy?: NetworkPolicy) => ({
  address: `10.88.0.${last}`,
  interface: `osbab12n${last}`,
  token: 'a-token-of-a-guest-1',
  ...(policy && { policy }),
})

const NO_SETS = new Map<string, readonly string[]>()

describe('the default of the operator', () => {
  test('can change while sandboxes run: for those without a policy of their own, and for those that come', async () => {
    const { open, files, scripts } = createFakeKernel()
    const sandboxes = open('allow')
    await sandboxes.register('a', registration(5))
    await sandboxes.register('b', registration(6, allow('b.example')))
    const before = scripts.length
    await sandboxes.changeOperators({
      defaultPolicy: { defaultAction: 'deny', egress: [] },
      floor: NO_FLOOR,
      sets: NO_SETS,
    })
    const actionOf = (id: string) => sandboxes.get(id)?.policy.policy.defaultAction
    expect([actionOf('a'), sandboxes.get('a')?.isDefault]).toEqual(['deny', true])
    expect(sandboxes.get('b')?.policy.policy).toEqual(allow('b.example'))
    expect(scripts.slice(before)).toEqual([expect.stringContaining('forward-a')])
    expect(files.get('a')).not.toHaveProperty('policy')
    await sandboxes.register('c', registration(7))
    expect(actionOf('c')).toBe('deny')
    await sandboxes.changeOperators({
      defaultPolicy: { defaultAction: 'allow', egress: [] },
      floor: NO_FLOOR,
      sets: NO_SETS,
    })
    expect([actionOf('a'), actionOf('b'), actionOf('c')]).toEqual(['allow', 'deny', 'allow'])
  })

  test('counts for one that was being registered, and for the others when the kernel refuses it for one', async () => {
    const { open, state } = createFakeKernel()
    const sandboxes = open('allow')
    await sandboxes.register('a', registration(5))
    await sandboxes.register('b', registration(6))
    const registering = sandboxes.register('c', registration(7))
    state.refuse = 'forward-a'
    await sandboxes.changeOperators({
      defaultPolicy: { defaultAction: 'deny', egress: [] },
      floor: NO_FLOOR,
      sets: NO_SETS,
    })
    await registering
    const actionOf = (id: string) => sandboxes.get(id)?.policy.policy.defaultAction
    expect([actionOf('a'), actionOf('b'), actionOf('c')]).toEqual(['allow', 'deny', 'deny'])
  })
})

test('what the operator always denies or allows is put below the policies of all, and no file has it', async () => {
  const { open, files, scripts } = createFakeKernel()
  const sandboxes = open('deny')
  await sandboxes.register('a', registration(5, allow('a.example', '198.51.100.0/24')))
  const floor = { deny: ['a.example', '198.51.100.7'], allow: ['mirror.example', '10.9.9.9'] }
  await sandboxes.changeOperators({
    defaultPolicy: { defaultAction: 'deny', egress: [] },
    floor,
    sets: NO_SETS,
  })
  const sandbox = sandboxes.get('a')
  if (!sandbox) throw new Error('The sandbox is gone')
  expect(sandboxes.decide(sandbox, 'a.example')).toMatchObject({ action: 'deny', rule: 'a.example' })
  expect(sandboxes.decide(sandbox, 'mirror.example').action).toBe('allow')
  expect(scripts.at(-1)).toMatch(
    /forward-a ip daddr \{ 198\.51\.100\.7 \} goto refuse\n.*\n.*\n.*forward-a ip daddr \{ 10\.9\.9\.9 \} goto pass-a\n/,
  )
  expect(files.get('a')?.policy).toEqual(allow('a.example', '198.51.100.0/24'))
  // Nor can the sandbox's own API reach below its policy.
  await sandboxes.changePolicy('a', () => allow('a.example'))
  expect(sandboxes.decide(sandboxes.get('a') ?? sandbox, 'a.example').action).toBe('deny')
})

describe('registering', () => {
  test('without a policy, the operator’s default applies, also after the operator has changed it', async () => {
    const { open, files, scripts } = createFakeKernel()
    await open('allow').register('a', registration(5))
    expect(scripts.join('')).toMatch(/forward-a goto pass-a\n/)
    const later = open('deny')
    await later.load()
    expect(later.get('a')?.policy.policy.defaultAction).toBe('deny')
    expect(files.get('a')).not.toHaveProperty('policy')
  })

  test('once more keeps the policy that it has by now', async () => {
    const { open } = createFakeKernel()
    const sandboxes = open()
    await sandboxes.register('a', registration(5, allow('a.example')))
    await sandboxes.changePolicy('a', () => allow('b.example'))
    await sandboxes.register('a', registration(5, allow('a.example')))
    expect(sandboxes.get('a')?.policy.policy).toEqual(allow('b.example'))
  })

  test('at another address takes the old one back in the same transaction', async () => {
    const { open, scripts } = createFakeKernel()
    const sandboxes = open()
    await sandboxes.register('a', registration(5))
    await sandboxes.register('a', registration(6))
    expect(scripts.at(-1)).toContain(
      'delete element inet opensandbox_ab12 registered { "osbab12n5" . 10.88.0.5 }',
    )
    expect(sandboxes.byAddress('10.88.0.5')).toBeUndefined()
    expect(sandboxes.byAddress('10.88.0.6')?.id).toBe('a')
    await sandboxes.register('b', registration(5))
    expect(sandboxes.byInterface('osbab12n5')?.id).toBe('b')
  })

  test('of one address by two at once succeeds for one', async () => {
    const { open } = createFakeKernel()
    const sandboxes = open()
    const outcomes = await Promise.allSettled([
      sandboxes.register('a', registration(5)),
      sandboxes.register('b', registration(5)),
    ])
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected'])
    expect(outcomes[1]).toMatchObject({
      reason: { status: 409, message: 'The address 10.88.0.5 belongs to sandbox "a"' },
    })
  })

  test('that the kernel refuses leaves nothing', async () => {
    const { open, files, state } = createFakeKernel()
    const sandboxes = open()
    state.refuse = 'forward-a'
    await expect(sandboxes.register('a', registration(5))).rejects.toThrow('nft refused the rules')
    expect([sandboxes.size, files.size, sandboxes.byAddress('10.88.0.5')]).toEqual([0, 0, undefined])
    state.refuse = undefined
    await sandboxes.register('b', registration(5))
  })
})

describe('changing a policy', () => {
  test('that the kernel refuses changes nothing', async () => {
    const { open, files, state } = createFakeKernel()
    const sandboxes = open()
    await sandboxes.register('a', registration(5, allow('a.example')))
    state.refuse = 'flush chain'
    await expect(sandboxes.changePolicy('a', () => allow('b.example'))).rejects.toThrow('refused')
    expect(sandboxes.get('a')?.policy.policy).toEqual(allow('a.example'))
    expect(files.get('a')?.policy).toEqual(allow('a.example'))
    expect(sandboxes.get('a')?.coming).toBeUndefined()
  })

  test('that changes nothing does not ask the kernel', async () => {
    const { open, scripts } = createFakeKernel()
    const sandboxes = open()
    await sandboxes.register('a', registration(5))
    const before = scripts.length
    expect(await sandboxes.changePolicy('a', () => undefined)).toBeUndefined()
    expect(scripts).toHaveLength(before)
  })

  test('of one sandbox happens one after the other, each on what the one before has left', async () => {
    const { open } = createFakeKernel()
    const sandboxes = open()
    await sandboxes.register('a', registration(5, allow()))
    await Promise.all(
      ['a.example', 'b.example', 'c.example'].map((target) =>
        sandboxes.changePolicy('a', (policy) => allow(...policy.egress.map((rule) => rule.target), target)),
      ),
    )
    expect(sandboxes.get('a')?.policy.policy).toEqual(allow('a.example', 'b.example', 'c.example'))
  })

  test('of a sandbox that is not there is an error', async () => {
    await expect(
      createFakeKernel()
        .open()
        .changePolicy('a', () => allow()),
    ).rejects.toMatchObject({ status: 404 })
  })
})

describe('learning', () => {
  async function setup(policy: NetworkPolicy) {
    const kernel = createFakeKernel()
    const sandboxes = kernel.open()
    await sandboxes.register('a', registration(5, policy))
    kernel.scripts.length = 0
    const learn = (name: string, ...addresses: string[]) => sandboxes.learn({ id: 'a' }, name, addresses, 60)
    return { ...kernel, sandboxes, learn }
  }

  test('tells the kernel once for as long as that is enough', async () => {
    const { learn, scripts, state } = await setup(allow('a.example'))
    expect(
      await Promise.all([learn('a.example', '198.51.100.1'), learn('a.example', '198.51.100.1')]),
    ).toEqual([true, true])
    state.now = 30_000
    await learn('a.example', '198.51.100.1')
    expect(scripts).toHaveLength(1)
    state.now = 60_000
    await learn('a.example', '198.51.100.1')
    expect(scripts).toHaveLength(2)
  })

  test('does not tell the kernel what is open anyway', async () => {
    const { learn, scripts } = await setup({ defaultAction: 'allow', egress: [] })
    expect(await learn('a.example', '198.51.100.1')).toBe(true)
    expect(scripts).toEqual([])
  })

  test('fails when the kernel refuses', async () => {
    const { learn, state } = await setup(allow('a.example'))
    state.refuse = 'learned'
    expect(await learn('a.example', '198.51.100.1')).toBe(false)
  })

  test('R2: a name that was denied while its answer was awaited opens nothing', async () => {
    const { learn, sandboxes, scripts } = await setup(allow('a.example'))
    await sandboxes.changePolicy('a', () => allow('b.example'))
    const before = scripts.length
    expect(await learn('a.example', '198.51.100.1')).toBe(false)
    expect(scripts).toHaveLength(before)
  })

  test('while a stricter policy is on its way opens nothing for what that denies', async () => {
    const { learn, sandboxes, state } = await setup(allow('a.example', 'b.example'))
    let release = () => {}
    const held = new Promise<void>((resolve) => {
      release = resolve
    })
    let reached = () => {}
    const atKernel = new Promise<void>((resolve) => {
      reached = resolve
    })
    state.before = () => {
      reached()
      return held
    }
    const changing = sandboxes.changePolicy('a', () => allow('b.example'))
    await atKernel
    expect(await learn('a.example', '198.51.100.1')).toBe(false)
    const other = learn('b.example', '198.51.100.2')
    release()
    await changing
    expect(await other).toBe(true)
  })

  test('survives a change of policy for the names that are still allowed', async () => {
    const { learn, sandboxes, scripts } = await setup(allow('a.example', 'b.example'))
    await learn('a.example', '198.51.100.1')
    await learn('b.example', '198.51.100.2')
    await sandboxes.changePolicy('a', () => allow('b.example', '10.0.0.0/8'))
    expect(scripts.at(-1)).toContain('learned-a { 198.51.100.2 timeout 120s }')
    expect(scripts.at(-1)).not.toContain('198.51.100.1')
  })

  test('of a sandbox that has gone opens nothing', async () => {
    const { learn, sandboxes } = await setup(allow('a.example'))
    await sandboxes.remove('a')
    expect(await learn('a.example', '198.51.100.1')).toBe(false)
  })
})

test('a start takes over from the kernel what an earlier run had learned, for sandboxes that it knows', async () => {
  const { open, scripts, state } = createFakeKernel()
  await open().register('a', registration(5, allow('a.example')))
  const set = (name: string, expires: number) => ({
    set: {
      name,
      table: 'opensandbox_ab12',
      elem: [{ elem: { val: '198.51.100.1', timeout: 120, expires } }, '198.51.100.2'],
    },
  })
  state.listed = JSON.stringify({ nftables: [set('learned-a', 80), set('learned-gone', 80)] })
  await open().load()
  expect(scripts.at(-1)).toContain('learned-a { 198.51.100.1 timeout 80s }')
  expect(scripts.at(-1)).not.toContain('gone')
})

test('R1: a sandbox whose rules are of an earlier version keeps what it has open, until they are written once more', async () => {
  const { open, scripts, state } = createFakeKernel()
  for (const [id, last] of [['a', 5] as const, ['b', 6] as const])
    await open().register(id, registration(last))
  const chain = (name: string) => ({ chain: { family: 'inet', table: 'opensandbox_ab12', name } })
  const found = (...names: string[]) => JSON.stringify({ nftables: names.map(chain) })
  const linesOf = (pattern: RegExp) => [...(scripts.at(-1) ?? '').matchAll(pattern)].map(([, id]) => id)
  const unmarked = () => linesOf(/reply-(\S+) meta l4proto tcp /g)
  const otherwiseMarked = () => linesOf(/pass-(\S+) meta l4proto tcp jump begin/g)
  // Of two earlier versions: one that marked no connections, and one whose marks say less.
  state.listed = found('reply-a', 'reply-b', 'pass-b')
  await open().load()
  expect([unmarked(), otherwiseMarked()]).toEqual([['a'], ['a', 'b']])
  state.listed = found('reply-a', 'reply-b', 'pass-a', 'pass-b', 'begin')
  await open().load()
  expect([unmarked(), otherwiseMarked()]).toEqual([[], []])
  // Where there were no rules at all, nothing is open.
  state.listed = undefined
  await open().load()
  expect([unmarked(), otherwiseMarked()]).toEqual([[], []])
})

test('removing a sandbox whose rules something else has removed builds the table anew', async () => {
  const { open, scripts, state, files } = createFakeKernel()
  const sandboxes = open()
  await sandboxes.register('a', registration(5))
  await sandboxes.register('b', registration(6))
  state.refuse = 'delete chain'
  await sandboxes.remove('a')
  expect(scripts.at(-1)).toContain('delete table inet opensandbox_ab12')
  expect(scripts.at(-1)).toContain('forward-b')
  expect(scripts.at(-1)).not.toContain('forward-a')
  expect([...files.keys()]).toEqual(['b'])
  expect(sandboxes.list().map(({ id }) => id)).toEqual(['b'])
})

test('a repair waits for what is under way, so that it loses none of it', async () => {
  const { open, scripts } = createFakeKernel()
  const sandboxes = open()
  const registered = sandboxes.register('a', registration(5))
  await sandboxes.repair()
  await registered
  expect(scripts.at(-1)).toContain(
    'add element inet opensandbox_ab12 forward_by { "osbab12n5" : goto forward-a }',
  )
  expect(scripts.at(-1)).toContain('delete table')
})

test('O15: what is in a set can change while sandboxes run, and one that has gone leaves nothing open', async () => {
  const { scripts, open } = createFakeKernel()
  const sandboxes = open('deny')
  await sandboxes.register('a', registration(5, allow('set:ours')))
  await sandboxes.register('b', registration(6, allow('b.example')))
  const decide = (name: string) => {
    const sandbox = sandboxes.get('a')
    return sandbox && sandboxes.decide(sandbox, name).action
  }
  const change = (sets: Record<string, string[]>) =>
    sandboxes.changeOperators({
      defaultPolicy: { defaultAction: 'deny', egress: [] },
      floor: NO_FLOOR,
      sets: new Map(Object.entries(sets)),
    })
  expect(decide('a.example')).toBe('deny')
  const before = scripts.length
  await change({ ours: ['a.example'] })
  expect(decide('a.example')).toBe('allow')
  await change({})
  expect(decide('a.example')).toBe('deny')
  expect(scripts.slice(before).join('')).not.toContain('forward-b')
})

test('R1: a relayed connection that began while all was open ends when its address was not answered for its name', async () => {
  const { flows, open } = createFakeKernel()
  const sandboxes = open('allow')
  await sandboxes.register('a', registration(5))
  const sandbox = sandboxes.get('a')
  if (!sandbox) throw new Error('The sandbox is gone')
  await sandboxes.learn(sandbox, 'a.example', ['198.51.100.1'], 60)
  const ended: string[] = []
  for (const address of ['198.51.100.1', '198.51.100.2'])
    flows.add('a', {
      address,
      port: 443,
      isByAddress: false,
      names: new Set(['a.example']),
      aliases: new Set<string>(),
      end: () => void ended.push(address),
    })
  await sandboxes.changePolicy('a', () => allow('a.example'))
  expect(ended).toEqual(['198.51.100.2'])
})

test('R1: a connection by an address ends when what is said there must be looked into from now on', async () => {
  const flows = new Flows({ perSandbox: 4, total: 4 })
  const sandboxes = createFakeKernel({ flows }).open('allow')
  await sandboxes.register('a', registration(5))
  const ended: string[] = []
  for (const [address, port] of [
    ['198.51.100.1', 443],
    ['198.51.100.2', 443],
    ['198.51.100.2', 22],
  ] as const)
    flows.add('a', {
      ...{ address, port, isByAddress: true, names: new Set<string>(), aliases: new Set<string>() },
      end: () => void ended.push(`${address}:${port}`),
    })
  const change = (...egress: NetworkPolicy['egress']) =>
    sandboxes.changePolicy('a', () => ({ defaultAction: 'allow', egress }))
  await change({ action: 'allow', target: '198.51.100.1' })
  expect(ended).toEqual([])
  await change({ action: 'deny', target: 'bad.example' }, { action: 'allow', target: '198.51.100.1' })
  expect(ended).toEqual(['198.51.100.2:443'])
})
