import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parseEnvironmentFile, userEnvironment } from '../../../execd/command/environment.ts'
import { processorMs } from '../../support/fair-time.ts'

test.each([
  ['A=1\nB=2\n', { A: '1', B: '2' }],
  ['# no\n\nA=1\nnot an assignment\n1X=2\n=3\n', { A: '1' }],
  ["A='two\nlines $HOME'\nB=x", { A: 'two\nlines $HOME', B: 'x' }],
  ['A="a\\n\\"b\\"\\\\ $HOME"', { A: 'a\n"b"\\ $HOME' }],
  ['A=$HOME/x:\x24{HOME}:$NOPE.', { A: '/home/u/x:/home/u:.' }],
  ['A=1\nA=2', { A: '2' }],
  ['A=$constructor:$toString', { A: ':' }],
  ['A=1\nB=$A:$C\nC=2', { A: '1', B: '1:', C: '2' }],
  ['A=\nB= spaced \n', { A: '', B: 'spaced' }],
  ['export A=1', { A: '1' }],
  ["A='unclosed\nB=2", { A: "'unclosed", B: '2' }],
  ['A=1\r\nB="x"\r\n', { A: '1', B: 'x' }],
])('parseEnvironmentFile(%j)', (text, expected) => {
  expect(parseEnvironmentFile(text, { HOME: '/home/u' })).toEqual(expected)
})

test('parseEnvironmentFile() takes anything, in time that grows with its length', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: fc.constantFrom('A', '=', '"', "'", '\\', '\n', '$', ' ', '#', '\r', '\0') }),
      (text) => {
        for (const value of Object.values(parseEnvironmentFile(text, {}))) expect(value).not.toContain('\0')
      },
    ),
  )
  for (const line of ['A="', "A='", 'A="\\"', 'A=$A$A', '\n', 'A="x" y']) {
    const took = processorMs(() => void parseEnvironmentFile(`${line}\n`.repeat(50_000), {}))
    // Seconds, were it to grow with the square.
    expect(took).toBeLessThan(3000)
  }
})

test('parseEnvironmentFile() refuses lines that double each other, before they take all memory', () => {
  const lines = Array.from({ length: 25 }, (_, index) => `A${index + 1}=$A${index}\x24{A${index}}`)
  const startedAt = process.memoryUsage().heapTotal
  expect(() => parseEnvironmentFile(['A0=0123456789', ...lines].join('\n'), {})).toThrow(
    /environment file.*more than/,
  )
  expect(process.memoryUsage().heapTotal - startedAt).toBeLessThan(128 << 20)
  expect(parseEnvironmentFile(['A0=x', ...lines.slice(0, 4)].join('\n'), {}).A4).toBe('x'.repeat(16))
})

test('userEnvironment() gives PATH and HOME unless the boot environment has them', () => {
  expect(userEnvironment({}, '/root')).toMatchObject({ HOME: '/root', PATH: expect.stringContaining('/bin') })
  expect(userEnvironment({ HOME: '/x', PATH: '/p' }, '/root')).toEqual({ HOME: '/x', PATH: '/p' })
})
