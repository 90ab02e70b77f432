import { expect, test } from 'vitest'
import { askIp, findIp } from '../../egress/ip.ts'

/** Answers the questions with these texts, and the rest with the last of them. */
function saying(...texts: string[]) {
  const asked: string[][] = []
  const run = async (_: string, args: readonly string[]) => {
    asked.push([...args])
    return { code: 0, stdout: texts[Math.min(asked.length, texts.length) - 1] ?? '', stderr: '' }
  }
  return { run, asked }
}

test.each([
  ['nothing', ['\n'], [], 1],
  ['a list', ['[{"a":1}]\n'], [{ a: 1 }], 1],
  ['a list without its end, and then a whole one', ['[{"a":1},', '[{"a":2}]'], [{ a: 2 }], 2],
])('ip that says %s', async (_, texts, entries, times) => {
  const { run, asked } = saying(...texts)
  expect(await askIp(run, ['address', 'show'])).toEqual(entries)
  expect(asked).toEqual(Array(times).fill(['-j', 'address', 'show']))
})

test('ip that never says a whole list is an error that tells what it said', async () => {
  const { run, asked } = saying('[{"a":')
  await expect(askIp(run, ['rule'])).rejects.toThrow('"ip -j rule" says what cannot be read: "[{\\"a\\":"')
  expect(asked).toHaveLength(3)
})

test('what ip complains of is an error, or is not there, but a list that cannot be read is always an error', async () => {
  const run = async () => ({ code: 1, stdout: '', stderr: 'Device "x" does not exist.\n' })
  expect(await findIp(run, ['address'])).toBeUndefined()
  await expect(askIp(run, ['address'])).rejects.toThrow('"ip -j address" says: Device "x" does not exist.')
  await expect(findIp(saying('[').run, ['address'])).rejects.toThrow('says what cannot be read: "["')
})
