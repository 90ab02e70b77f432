// What the JavaScript kernel makes of a cell before it runs.

import { createRequire } from 'node:module'
import { Script } from 'node:vm'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

type Rewrite = { rewrite(code: string): string; redeclare(code: string, name: string): string | undefined }
const { rewrite, redeclare } = createRequire(import.meta.url)(
  '../../../execd/assets/kernels/javascript/rewrite.cjs',
) as Rewrite

describe('rewrite()', () => {
  test.each([
    ['const a = 1', 'let   a = 1'],
    ['a++\nconst b = 2', 'a++\nlet   b = 2'],
    ['const a = b\n/ 2 /\nconst\nc', 'let   a = b\n/ 2 /\nconst\nc'],
    ['if (x) { const y = 1 }', 'if (x) { const y = 1 }'],
    ['for (const x of y) z(x)\nconst w = 1', 'for (const x of y) z(x)\nlet   w = 1'],
    ['x = { const: 1, import: 2 }\nx.import(1)', 'x = { const: 1, import: 2 }\nx.import(1)'],
    ['import "x"', 'await __import__("x")'],
    ["import fs from 'fs'", "let { default: fs } = await __import__('fs')"],
    ["import { a, b as c } from 'x';", "let { a, b: c } = await __import__('x');"],
    ["import {\n  a,\n  b,\n} from 'x'\nlast", "let { a, b } = await __import__('x')\n\n\n\nlast"],
    ["import * as x from 'y'", "let x = await __import__('y')"],
    ["import d, * as x from 'y'", "let x = await __import__('y'), { default: d } = x"],
    ["import d, { a } from 'y'", "let { default: d, a } = await __import__('y')"],
    [
      "import j from './j.json' with { type: 'json' }",
      "let { default: j } = await __import__('./j.json', { with: { type: 'json' } })",
    ],
    ['await import("x"); f(import (y))', 'await __import__("x"); f(__import__ (y))'],
    ['import.meta.url', '__import_meta__.url'],
    ['export const a = 1', '       let   a = 1'],
    ['export async function f() {}', '       async function f() {}'],
    ['export default class A {}', '               class A {}'],
    ['export default 5', ' 5'],
    ['export { a, b }\nc', '               \nc'],
    ['#!/usr/bin/env node\nconst a = 1', '#!/usr/bin/env node\nlet   a = 1'],
  ])('%j is %j', (code, rewritten) => {
    expect(rewrite(code)).toBe(rewritten)
  })

  test.each([
    '"const a = 1; import x from \'y\'"',
    "'\\' const a = 1'",
    '`\nconst a = 1\nimport x from "y"\n`',
    `\`\${\`\nconst a = \${1}\`}\nimport("x")\n\``,
    '// const a = 1\n/*\nimport x from "y"\n*/',
    '/[/`]const\\/import("x")/.test("const a = 1")',
    'a = b / 2; c = d / import_("x")',
    '(',
    '`never ends ${',
    '"never ends\nconst a = 1',
    'const a = {',
    'class A { import() {} }; x = { async import(a) { return a } }',
  ])('leaves %j as it is', (code) => {
    expect(rewrite(code)).toBe(code)
  })

  test('keeps every line where it is, and what is a script stays one', () => {
    const piece = fc.constantFrom(
      'const a = 1',
      `let b = \`x \${1 + 1} y\``,
      '"text\\n"',
      "'it\\'s'",
      '// comment',
      '/* two\nlines */',
      'if (true) { const inner = /[/]x/g }',
      'function f(x) { return x / 2 / 3 }',
      '[1, 2].map((x) => ({ x }))',
      '`a\nb`',
      'label: for (const i of []) continue label',
      'class A { static b = 1; import() {} }',
      'void 0',
      'x = y++ / 2',
    )
    fc.assert(
      fc.property(
        fc.array(piece, { maxLength: 12 }),
        fc.constantFrom(';\n', '\n;', '; '),
        (pieces, between) => {
          const code = [...new Set(pieces)].join(between)
          const rewritten = rewrite(code)
          expect(rewritten.split('\n').length).toBe(code.split('\n').length)
          expect(rewritten.length).toBe(code.length)
          expect(isScript(rewritten)).toBe(isScript(code))
        },
      ),
    )
  })

  test('does not fail on any text', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom(...`\`\${}()[]/\\'"*\n;=const import.x`.split('')) }),
        (code) => {
          expect(typeof rewrite(code)).toBe('string')
        },
      ),
      { numRuns: 500 },
    )
  })
})

describe('redeclare()', () => {
  test.each([
    ['let a = 1\na', 'a', 'var a = 1\na'],
    ['class A {}', 'A', 'var A = class A {}'],
    ['var a = 1', 'a', 'let a = 1'],
    ['function f() {}', 'f', 'f = function f() {}'],
    ['async function* f() {}', 'f', 'f = async function* f() {}'],
    ['let b = 1; function a() {}', 'a', 'let b = 1; a = function a() {}'],
  ])('%j with %s is %j', (code, name, changed) => {
    expect(redeclare(code, name)).toBe(changed)
  })

  test.each([
    ['let { a } = b', 'a'],
    ['(() => { let a })()', 'a'],
    ['let ab = 1', 'a'],
  ])('gives up on %j with %s', (code, name) => {
    expect(redeclare(code, name)).toBeUndefined()
  })
})

function isScript(code: string): boolean {
  try {
    new Script(code)
    return true
  } catch {
    return false
  }
}
