// Which registries may be asked.

import { describe, expect, test } from 'vitest'
import { parseReference, type Reference } from '../../../control/image/reference.ts'
import { createRegistryGuard, type GuardOptions, isOfMachine } from '../../../control/image/registry-guard.ts'

/** A default route, a network of the machine's, the subnet of sandboxes, and one of them. */
const ROUTES_4 = `Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
*\t0000000A\t00000000\t0201\t0\t0\t0\t000000FF\t0\t0\t0
eth0\t0000010A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
*\t0000400A\t00000000\t0201\t0\t0\t0\t0000FFFF\t0\t0\t0
osb46fe0a1b\t0900400A\t00000000\t0005\t0\t0\t0\tFFFFFFFF\t0\t0\t0
`
const ROUTES_6 = `00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo
fd000008000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000002 00000000 00000001     eth0
fd000007000000000000000000000009 80 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000002 00000000 00000001  osb46fe0a1b
`

describe('isOfMachine()', () => {
  test.each([
    '127.0.0.1',
    '127.255.255.255',
    '0.0.0.0',
    '169.254.169.254',
    '168.63.129.16',
    '100.100.100.200',
    '224.0.0.1',
    '255.255.255.255',
    '::1',
    '::',
    'fe80::1%eth0',
    'fd00:ec2::254',
    '::ffff:127.0.0.1',
    '64:ff9b::a9fe:a9fe',
    '2002:7f00:1::',
    'no address',
  ])('%s is', (address) => {
    expect(isOfMachine(address)).toBe(true)
  })

  test.each([
    '1.1.1.1',
    '10.0.0.1',
    '192.168.1.1',
    '172.16.0.1',
    '2606:4700::1111',
    'fd12::1',
    '64:ff9b::101:101',
  ])('%s is not', (address) => {
    expect(isOfMachine(address)).toBe(false)
  })
})

describe('the guard of registries', () => {
  const referenceOf = (uri: string) => (parseReference(uri) as { reference: Reference }).reference
  const judge = (uri: string, options: Partial<GuardOptions> = {}, target = uri) =>
    createRegistryGuard({ allowed: [], aliases: {}, addressesOf: async () => ['1.1.1.1'], ...options })(
      { reference: referenceOf(target), request: { uri } },
      AbortSignal.timeout(10_000),
    )
  const inside = { addressesOf: async () => ['1.1.1.1', '127.0.0.1'] }

  test('lets pass what is elsewhere, and what nobody knows', async () => {
    await judge('python')
    await judge('registry.example:5000/a')
    await judge('registry.example/a', { addressesOf: () => Promise.reject(new Error('ENOTFOUND')) })
  })

  test('refuses a name of which any address is of this machine, and names for it', async () => {
    const refused = { failure: 'image_denied', message: expect.stringContaining('internal_registries') }
    await expect(judge('registry.example/a', inside)).rejects.toMatchObject(refused)
    for (const uri of ['localhost/a', 'localhost:5000/a', 'a.localhost:5000/a'])
      await expect(judge(uri)).rejects.toMatchObject(refused)
  })

  test('lets pass what the operator has named, with its port or by all of them, or calls by a name of his own', async () => {
    await judge('localhost:5000/a', { allowed: ['localhost:5000'] })
    await judge('localhost:5000/a', { allowed: ['localhost'] })
    await expect(judge('localhost:5001/a', { allowed: ['localhost:5000'] })).rejects.toThrow()
    await judge('tools', { aliases: { tools: 'localhost:5000/a' } }, 'localhost:5000/a')
  })

  test('refuses what is at an address of any interface of this machine, or of a sandbox, at the time', async () => {
    const own = ['127.0.0.1', '192.168.7.5']
    const host = { own: () => own, routes: () => ({ ipv4: ROUTES_4, ipv6: ROUTES_6 }) }
    const at = (address: string) => judge('registry.example/a', { addressesOf: async () => [address], host })
    const refused = { failure: 'image_denied', message: expect.stringContaining('internal_registries') }
    for (const address of ['192.168.7.5', '::ffff:192.168.7.5', '10.64.0.9', '10.64.77.1', 'fd00:7::9'])
      await expect(at(address), address).rejects.toMatchObject(refused)
    for (const address of [
      '192.168.7.6',
      '172.16.0.9',
      '10.1.2.3',
      'fd00:8::9',
      '2606:4700::1111',
      '1.1.1.1',
    ])
      await at(address)
    own.push('192.168.7.6')
    await expect(at('192.168.7.6')).rejects.toMatchObject(refused)
  })

  test('refuses a name that no name server answers for in time, and says so', async () => {
    const silent = { addressesOf: () => new Promise<string[]>(() => {}), lookupMs: 10 }
    await expect(judge('registry.example/a', silent)).rejects.toMatchObject({
      failure: 'image_pull_failed',
      message: expect.stringContaining('"registry.example" has a name that no name server answered for'),
    })
    await judge('registry.example/a', { ...silent, allowed: ['registry.example'] })
  })

  test('ends with who asked', async () => {
    const asking = createRegistryGuard({ allowed: [], aliases: {}, addressesOf: () => new Promise(() => {}) })
    const gone = new AbortController()
    const asked = asking({ reference: referenceOf('a.example/a'), request: { uri: 'a' } }, gone.signal)
    gone.abort(new Error('gone'))
    await expect(asked).rejects.toThrow('gone')
  })
})
