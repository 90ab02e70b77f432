import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isVariableName, quote, type RunLine, runLine } from '../../../execd/session/script.ts'

const SHELLS = ['/usr/bin/bash', '/usr/bin/dash', '/usr/bin/busybox'].filter((path) => existsSync(path))

/** Any bytes that an argument can have. */
const bytes = fc.uint8Array({ min: 1, max: 255, maxLength: 200 }).map((array) => Buffer.from(array))

describe('quote()', () => {
  test.each([
    ['', "''"],
    ['a b', "'a b'"],
    ["it's", "'it'\\''s'"],
    ["''", "''\\'''\\'''"],
    ['$HOME `id` "\\\n!', "'$HOME `id` \"\\\n!'"],
  ])('makes one word of %j', (text, word) => {
    expect(quote(text).toString()).toBe(word)
    expect(quote(Buffer.from(text)).toString()).toBe(word)
  })

  test.each(SHELLS)('gives %s any bytes as they are', (shell) => {
    const values = fc.sample(bytes, 300)
    const script = Buffer.concat([
      Buffer.from("printf '%s\\0'"),
      ...values.flatMap((value) => [Buffer.from(' '), quote(value)]),
    ])
    const args = shell.endsWith('busybox') ? ['sh', '-s'] : ['-s']
    const output = execFileSync(shell, args, { input: script, env: { LC_ALL: 'C' } })
    expect(output.equals(Buffer.concat(values.flatMap((value) => [value, Buffer.from('\0')])))).toBe(true)
  })
})

test.each([
  ['PATH', true],
  ['_', true],
  ['a1_', true],
  ['', false],
  ['1a', false],
  ['a-b', false],
  ['a b', false],
  ['a=b', false],
  ['é', false],
  ['BASH_FUNC_f%%', false],
])('isVariableName(%j) is %s', (name, is) => {
  expect(isVariableName(name)).toBe(is)
})

describe('the line of a run', () => {
  const line: RunLine = {
    nonce: 'N',
    report: '/r',
    stdout: '/o',
    stderr: '/e',
    code: 'echo hi',
    exports: {},
    status: 0,
    traced: '',
    saveAll: false,
  }
  const textOf = (more: Partial<RunLine>, dialect: 'bash' | 'sh' = 'bash') =>
    runLine(dialect, { ...line, ...more }).toString()

  test('is one line for the shell, whatever the code is', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.constantFrom('bash', 'sh'), (code, dialect) => {
        const text = textOf({ code: code.replaceAll('\0', '') }, dialect as 'bash' | 'sh')
        // Outside of quotes there is one line break, the last byte.
        const outside = text.replace(/'[^']*'/g, '').replace(/\\'/g, '')
        expect(outside.indexOf('\n')).toBe(outside.length - 1)
      }),
    )
  })

  test('asks nothing more of a shell than there is to do', () => {
    expect(textOf({})).toContain(" || \\command exit 125; \\command eval 'echo hi'; {")
    expect(textOf({ cwd: '/a b' })).toContain("\\command cd -- '/a b' && \\command eval 'echo hi'; {")
    expect(textOf({ status: 3 })).toContain(
      "if (\\command exit 3); then :; else \\command eval 'echo hi'; fi; {",
    )
    expect(textOf({ traced: 'xv' })).toContain("\\command eval '\\command set -xv;echo hi'")
    expect(textOf({ exports: { A: "it's", 'no-name': 'x' } })).toContain(
      "\\command export A='it'\\''s'; \\command eval",
    )
    expect(textOf({ exports: { 'no-name': 'x' } })).not.toContain('no-name')
  })

  test('writes down all that the shell can, if it shall', () => {
    expect(textOf({})).not.toContain('declare')
    expect(textOf({ saveAll: true })).toContain('\\command declare -f >&3')
    expect(textOf({ saveAll: true }, 'sh')).not.toContain('declare')
  })

  test('has the name of a file and not the code, if there is one', () => {
    const text = textOf({ codeFile: '/c', code: 'secret' })
    expect(text).not.toContain('secret')
    expect(text).toContain("<'/c' || \\command exit 125; >|'/c'; ")
  })
})
