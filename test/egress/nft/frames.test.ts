import { expect, onTestFinished, test } from 'vitest'
import { Frames, type FramesOptions } from '../../../egress/nft/frames.ts'
import { createLogger } from '../../../lib/log.ts'
import { waitFor } from '../../support/wait-for.ts'

/** A kernel that knows such tables or not, and that wants interfaces to be there or not. */
function setup({ knows = true, needsInterface = false, wait = undefined as FramesOptions['wait'] } = {}) {
  const scripts: string[] = []
  const lines: string[] = []
  const state = { knows, registered: ['osbab12g1'], there: new Set<string>() }
  const end = new AbortController()
  onTestFinished(() => end.abort())
  const frames = new Frames({
    nft: {
      async apply(script) {
        if (!state.knows) throw new Error('nft refused the rules: Operation not supported')
        const [, device] = /device "(.*)"/.exec(script) ?? []
        if (needsInterface && device !== undefined && !state.there.has(device)) throw new Error('ENOENT')
        scripts.push(script)
      },
    },
    table: 't',
    ipv6: false,
    interfaces: () => state.registered,
    isThere: (name) => state.there.has(name),
    ...(wait && { wait }),
    log: createLogger({ program: 'test', level: 'info', write: (line) => void lines.push(line) }),
    signal: end.signal,
  })
  const looksAt = (name: string) => scripts.filter((script) => script.includes(`device "${name}"`)).length
  return { frames, scripts, lines, state, looksAt, end }
}

test('the table is made for all interfaces that there are, as often as it is asked', async () => {
  const { frames, scripts, state, looksAt } = setup()
  expect(frames.isOpen).toBe(false)
  await frames.build()
  state.registered = ['osbab12g1', 'osbab12g2']
  await frames.build()
  expect(frames.isOpen).toBe(true)
  expect(scripts.filter((script) => script.startsWith('add table netdev t\ndelete table'))).toHaveLength(2)
  expect([looksAt('osbab12g1'), looksAt('osbab12g2')]).toEqual([2, 1])
})

test('interfaces come and go one by one', async () => {
  const { frames, scripts } = setup()
  await frames.build()
  await frames.put('osbab12g2')
  await frames.drop('osbab12g2')
  expect(scripts.slice(-2)).toEqual([
    expect.stringContaining('add chain netdev t osbab12g2 { type filter hook ingress'),
    'add chain netdev t osbab12g2\ndelete chain netdev t osbab12g2\n',
  ])
})

test('a kernel without such tables is told of once, and is asked again only with all rules', async () => {
  const { frames, scripts, lines, state } = setup({ knows: false })
  await frames.build()
  await frames.put('osbab12g2')
  await frames.drop('osbab12g2')
  await frames.build()
  expect([frames.isOpen, scripts]).toEqual([false, []])
  expect(lines).toEqual([expect.stringContaining('is in no record')])
  state.knows = true
  await frames.build()
  expect(frames.isOpen).toBe(true)
})

test('an interface that an older kernel must see first is looked at when it is there', async () => {
  const { frames, state, looksAt, lines } = setup({ needsInterface: true })
  await frames.build()
  expect(looksAt('osbab12g1')).toBe(0)
  state.there.add('osbab12g1')
  await waitFor(() => expect(looksAt('osbab12g1')).toBe(1))
  expect(lines).toEqual([])
})

test('an interface that never comes is forgotten with its sandbox', async () => {
  const { frames, state, looksAt } = setup({ needsInterface: true })
  await frames.build()
  state.registered = ['osbab12g2']
  state.there.add('osbab12g1')
  await frames.put('osbab12g2')
  state.there.add('osbab12g2')
  await waitFor(() => expect(looksAt('osbab12g2')).toBe(1))
  expect(looksAt('osbab12g1')).toBe(0)
})

test('what the kernel goes on refusing is tried less and less often, until egress ends', async () => {
  const waits: number[] = []
  const ended = Promise.withResolvers<void>()
  const { frames, state, end } = setup({
    async wait(ms) {
      waits.push(ms)
      if (waits.length < 10) return
      end.abort()
      ended.resolve()
    },
  })
  await frames.build()
  state.there.add('osbab12g1')
  state.knows = false
  await frames.put('osbab12g1')
  await ended.promise
  expect(waits).toEqual([25, 50, 100, 200, 400, 800, 1600, 3000, 3000, 3000])
})
