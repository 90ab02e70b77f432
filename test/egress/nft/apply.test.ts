import { expect, test } from 'vitest'
import { Nft } from '../../../egress/nft/apply.ts'
import type { Written } from '../../../egress/nft/netlink/kernel-writer.ts'
import type { Command } from '../../../egress/nft/netlink/read-script.ts'
import type { RunProgram } from '../../../lib/run-program.ts'

/** A kernel that takes every script, except those with `bad` in them, and shows each when it is let go. */
function kernel() {
  const scripts: string[] = []
  const waiting: (() => void)[] = []
  let open = false
  const run: RunProgram = async (_, __, { input = '' } = {}) => {
    scripts.push(input)
    if (!open) await new Promise<void>((resolve) => waiting.push(resolve))
    return input.includes('bad')
      ? { code: 1, stdout: '', stderr: 'Error: bad\nmore' }
      : { code: 0, stdout: '', stderr: '' }
  }
  return {
    run,
    scripts,
    release: () => {
      open = true
      for (const each of waiting.splice(0)) each()
    },
  }
}

test('scripts that come while one is applied go together, in their order', async () => {
  const { run, scripts, release } = kernel()
  const nft = new Nft(run)
  const applied = ['a\n', 'b\n', 'c\n'].map((script) => nft.apply(script))
  release()
  await Promise.all(applied)
  expect(scripts).toEqual(['a\n', 'b\nc\n'])
})

test('a script that the kernel refuses fails alone', async () => {
  const { run, scripts, release } = kernel()
  const nft = new Nft(run)
  const applied = ['a\n', 'b\n', 'bad\n', 'c\n'].map((script) => nft.apply(script))
  release()
  const outcomes = await Promise.allSettled(applied)
  expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected', 'fulfilled'])
  expect(outcomes[2]).toMatchObject({ reason: { message: 'nft refused the rules: Error: bad' } })
  expect(scripts).toEqual(['a\n', 'b\nbad\nc\n', 'b\n', 'bad\n', 'c\n'])
})

test('works again after everything has failed', async () => {
  let broken = true
  const nft = new Nft(async () => {
    if (broken) throw new Error('no such program')
    return { code: 0, stdout: '', stderr: '' }
  })
  await expect(nft.apply('a\n')).rejects.toThrow('nft could not be run: no such program')
  broken = false
  await expect(nft.apply('b\n')).resolves.toBeUndefined()
})

test('what does not exist is told apart from what failed', async () => {
  const answering = (stderr: string) => new Nft(async () => ({ code: 1, stdout: '', stderr }))
  await expect(answering('Error: No such file or directory\n').list('tables')).resolves.toBeUndefined()
  await expect(answering('Error: Operation not permitted\n').list('tables')).rejects.toThrow(
    'nft list tables failed: Error: Operation not permitted',
  )
})

/** Writes what it is given, except what names the chain `bad`. */
function createWriter(script: string[], outcome: 'done' | 'unable' = 'done') {
  return {
    apply: async (commands: readonly Command[]): Promise<Written> => {
      if (outcome === 'unable') return { outcome }
      script.push(`written: ${commands.map(({ name }) => name).join()}`)
      return commands.some(({ name }) => name === 'bad')
        ? { outcome: 'refused', reason: 'EEXIST at "bad"' }
        : { outcome }
    },
    isOwn: async (generation: number) => generation === 7,
  }
}

test('what can be written without nft is, and the order stays where nft must do something', async () => {
  const { run, scripts, release } = kernel()
  release()
  const outcomes: boolean[] = []
  const nft = new Nft(run, { writer: createWriter(scripts) })
  nft.follow((isFailed) => outcomes.push(isFailed))
  const lines = [
    'add chain inet t a\n',
    'add chain inet t b\n',
    'add table inet t\n',
    'delete chain inet t a\n',
  ]
  await Promise.all(lines.map((line) => nft.apply(line)))
  expect(scripts).toEqual(['written: a', 'written: b', 'add table inet t\n', 'written: a'])
  expect(outcomes).toEqual([false, false, false, false])
})

test('what the kernel refuses fails alone, whoever tells it', async () => {
  const { run, scripts, release } = kernel()
  release()
  const nft = new Nft(run, { writer: createWriter(scripts) })
  const names = ['first', 'good', 'bad', 'last']
  const settled = await Promise.allSettled(names.map((name) => nft.apply(`add chain inet t ${name}\n`)))
  expect(settled.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected', 'fulfilled'])
  expect(settled[2]).toMatchObject({ reason: { message: 'the kernel refused the rules: EEXIST at "bad"' } })
  expect(scripts).toEqual([
    'written: first',
    'written: good,bad,last',
    'written: good',
    'written: bad',
    'written: last',
  ])
})

test('what cannot be written after all is done by nft', async () => {
  const { run, scripts, release } = kernel()
  release()
  const nft = new Nft(run, { writer: createWriter(scripts, 'unable') })
  await nft.apply('add chain inet t a\n')
  expect(scripts).toEqual(['add chain inet t a\n'])
})

test('its own generations are those that it has written', async () => {
  const nft = new Nft(kernel().run, { writer: createWriter([]) })
  expect(await Promise.all([nft.isOwn(7), nft.isOwn(8), new Nft(kernel().run).isOwn(7)])).toEqual([
    true,
    false,
    false,
  ])
})

test.each([
  ['', 'said nothing'],
  ['\n', 'said nothing'],
  ['{"nftables":[{"meta', 'said what cannot be read: "{\\"nftables\\":[{\\"meta"'],
])('a list for which nft says %j is asked for again, and not for ever', async (said, message) => {
  let asked = 0
  const sayingAt = (turn: number) =>
    new Nft(async () => ({
      code: 0,
      stdout: ++asked === turn ? '{"nftables":[{"metainfo":{}}]}' : said,
      stderr: '',
    }))
  expect(await sayingAt(2).list('chains')).toEqual([{ metainfo: {} }])
  asked = 0
  await expect(sayingAt(9).list('chains')).rejects.toThrow(`nft list chains ${message}`)
  expect(asked).toBe(3)
})
