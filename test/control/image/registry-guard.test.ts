// Which registries may be asked.

import { describe, expect, test } from 'vitest'
import { parseReference, type Reference } from '../../../control/image/reference.ts'
import { createRegistryGuard, type GuardOptions, isOfMachine } from '../../../control/image/registry-guard.ts'

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

  test('ends with who asked', async () => {
    const asking = createRegistryGuard({ allowed: [], aliases: {}, addressesOf: () => new Promise(() => {}) })
    const gone = new AbortController()
    const asked = asking({ reference: referenceOf('a.example/a'), request: { uri: 'a' } }, gone.signal)
    gone.abort(new Error('gone'))
    await expect(asked).rejects.toThrow('gone')
  })
})
