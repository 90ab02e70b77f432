import { expect, test } from 'vitest'
import { Nft } from '../../../egress/nft/apply.ts'
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
