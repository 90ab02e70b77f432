// Our own kernel of JavaScript and TypeScript.

import { existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Daemon, startDaemon, until } from '../daemon.ts'
import {
  createContext,
  errorOf,
  followCode,
  interrupt,
  resultsOf,
  runCode,
  stdoutOf,
  textsOf,
  typesOf,
} from './run.ts'

let execd: Daemon
let javascript: string
let typescript: string
beforeAll(async () => {
  execd = await startDaemon()
  javascript = await createContext(execd, 'javascript')
  typescript = await createContext(execd, 'typescript')
})
afterAll(() => execd?.[Symbol.asyncDispose]())

const run = (code: string, id = javascript) => runCode(execd, id, code)

describe('values', () => {
  test.each([
    ['2 + 2', ['4']],
    ['const x = 3', []],
    ['let y = 1; y + 1', ['2']],
    ['undefined', []],
    ['null', ['null']],
    ['"a\\nb"', ["'a\\nb'"]],
    ['({ a: [1, { b: 2 }] })', ['{ a: [ 1, { b: 2 } ] }']],
    ['[1n, -0, NaN]', ['[ 1n, -0, NaN ]']],
    ['for (const q of [1, 2]) q', ['2']],
    ['// nothing', []],
    ['function f() {}', []],
    ['await Promise.resolve(5)', ['5']],
    ['Promise.resolve(6)', ['6']],
    ['(async () => { await null })()', []],
    ['({ then() { throw new Error("is not called") } }).constructor.name', ["'Object'"]],
    ['Symbol.for("s")', ['Symbol(s)']],
  ])('%j shows %j', async (code, results) => {
    const events = await run(code)
    expect(errorOf(events)).toBeUndefined()
    expect(resultsOf(events)).toEqual(results)
  })

  test('can be displayed, in order with what is printed', async () => {
    const events = await run(
      'console.log("a"); display({ b: 1 }); console.log("c"); display.html("<b>x</b>"); display.png(Buffer.from("p")); display({ "text/markdown": "*m*" }, { raw: true })',
    )
    expect(typesOf(events).slice(2, -1)).toEqual(['stdout', 'result', 'stdout', 'result', 'result', 'result'])
    expect(events.flatMap(({ results }) => (results ? [results] : []))).toEqual([
      { text: '{ b: 1 }', 'text/plain': '{ b: 1 }' },
      { 'text/html': '<b>x</b>' },
      { 'image/png': Buffer.from('p').toString('base64') },
      { 'text/markdown': '*m*' },
    ])
  })

  test('say themselves what they look like', async () => {
    const events = await run(
      '({ [Symbol.for("Jupyter.display")]: () => ({ "text/html": "<p>", "a/b": { c: 1 } }) })',
    )
    expect(events.find(({ type }) => type === 'result')?.results).toMatchObject({
      'text/html': '<p>',
      'a/b': '{"c":1}',
    })
  })
})

describe('declarations', () => {
  test('last, and can be made again as anything', async () => {
    const kinds = {
      const: 'const thing = 1',
      let: 'let thing = 2',
      var: 'var thing = 3',
      class: 'class thing {}',
      function: 'function thing() {}',
    }
    for (const [before, first] of Object.entries(kinds)) {
      for (const [after, second] of Object.entries(kinds)) {
        const fresh = `${before}_${after}_`
        await run(first.replaceAll('thing', fresh))
        const events = await run(second.replaceAll('thing', fresh))
        expect([before, after, errorOf(events)]).toEqual([before, after, undefined])
        const wanted = { const: '1', let: '2', var: '3' }[after] ?? expect.stringContaining(fresh)
        expect(resultsOf(await run(fresh))).toEqual([wanted])
      }
    }
  })

  test('by destructuring, of functions that call each other, and without a value', async () => {
    await run('const { p, q: [r] } = { p: 1, q: [2] }\nlet s')
    expect(
      resultsOf(
        await run(
          'void isEven(4)\nfunction isEven(n) { return n === 0 || isOdd(n - 1) }\nfunction isOdd(n) { return n !== 0 && isEven(n - 1) }',
        ),
      ),
    ).toEqual([])
    expect(resultsOf(await run('[p, r, s, isEven(4)]'))).toEqual(['[ 1, 2, undefined, true ]'])
  })

  test('hide what is global', async () => {
    const fresh = await createContext(execd, 'javascript')
    await runCode(execd, fresh, 'const process = require("process"), navigator = 5')
    expect(resultsOf(await runCode(execd, fresh, 'navigator'))).toEqual(['5'])
    await execd.call(`/code/contexts/${fresh}`, { method: 'DELETE' })
  })
})

describe('modules', () => {
  test('are imported and required from the current directory', async () => {
    const packages = join(execd.workdir, 'node_modules/both')
    mkdirSync(packages, { recursive: true })
    writeFileSync(join(packages, 'package.json'), '{"exports":{"import":"./m.mjs","require":"./c.cjs"}}')
    writeFileSync(join(packages, 'm.mjs'), 'export default "esm"; export const named = 1')
    writeFileSync(join(packages, 'c.cjs'), 'module.exports = "cjs"')
    writeFileSync(join(execd.workdir, 'data.json'), '{"a":7}')
    const code = `
import both, { named } from 'both'
import data from './data.json' with { type: 'json' }
import * as path from 'node:path'
import {
  readFileSync as read,
} from 'fs'
const later = await import('both')
;[both, named, data.a, path.basename('/x/y'), typeof read, later.default, require('both'), require('./data.json').a]`
    const events = await run(code)
    expect(errorOf(events)).toBeUndefined()
    expect(textsOf(events, 'stderr')).toBe('')
    expect(resultsOf(events)[0]?.replaceAll(/\s+/g, ' ')).toBe(
      "[ 'esm', 1, 7, 'y', 'function', 'esm', 'cjs', 7 ]",
    )
    expect(
      resultsOf(await run('[import.meta.dirname === process.cwd(), __dirname === process.cwd()]')),
    ).toEqual(['[ true, true ]'])
    rmSync(packages, { recursive: true })
  })

  test('that are missing are told', async () => {
    expect(errorOf(await run('import x from "no-such-package"'))?.evalue).toContain('no-such-package')
    expect(errorOf(await run('require("no-such-package")'))?.evalue).toContain('no-such-package')
  })
})

describe('output', () => {
  test('of a cell and of its children keeps its order, across both streams', async () => {
    const events = await run(`
const { execSync } = require('child_process')
console.log('1'); execSync('echo 2', { stdio: 'inherit' }); process.stdout.write('3')
console.error('4'); console.log(); process.stdout.write(new Uint8Array([53, 10]));`)
    const all: [string, string][] = []
    for (const { type, text = '' } of events.filter((event) => event.type.startsWith('std'))) {
      const last = all.at(-1)
      if (last?.[0] === type) last[1] += text
      else all.push([type, text])
    }
    expect(all).toEqual([
      ['stdout', '1\n2\n3'],
      ['stderr', '4\n'],
      ['stdout', '\n5\n'],
    ])
  })

  test('of any text arrives as it is', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'grapheme', maxLength: 200 }), async (text) => {
        expect(stdoutOf(await run(`process.stdout.write(${JSON.stringify(text)}); void 0`))).toBe(text)
      }),
      { numRuns: 50 },
    )
  })

  test('of much comes whole', async () => {
    const events = await run('for (let n = 0; n < 50000; n++) console.log(n)')
    expect(stdoutOf(events).length).toBe(288_890)
    expect(typesOf(events).at(-1)).toBe('execution_complete')
  })
})

describe('errors', () => {
  test('have the lines of the cell, and nothing of the kernel', async () => {
    const events = await run(
      'function outer() {\n  inner()\n}\nfunction inner() {\n  throw new TypeError("bad")\n}\nouter()',
    )
    expect(errorOf(events)).toEqual({
      ename: 'TypeError',
      evalue: 'bad',
      traceback: [
        'TypeError: bad',
        expect.stringMatching(/^ {4}at inner \(cell_\d+\.js:5:9\)$/),
        expect.stringMatching(/^ {4}at outer \(cell_\d+\.js:2:3\)$/),
        expect.stringMatching(/^ {4}at cell_\d+\.js:7:1$/),
      ],
    })
  })

  test('of syntax show the place', async () => {
    expect(errorOf(await run('let ok = 1\nconst x = ;'))).toEqual({
      ename: 'SyntaxError',
      evalue: "Unexpected token ';'",
      traceback: [
        expect.stringMatching(/^cell_\d+\.js:2$/),
        'const x = ;',
        '          ^',
        "SyntaxError: Unexpected token ';'",
      ],
    })
  })

  test.each([
    ['throw "text"', 'Error', "'text'"],
    ['throw null', 'Error', 'null'],
    ['Promise.reject(new RangeError("late"))', 'RangeError', 'late'],
    ['await Promise.reject(new Error("awaited"))', 'Error', 'awaited'],
    ['missing', 'ReferenceError', 'missing is not defined'],
    ['class E extends Error { name = "Mine" }\nthrow new E("own")', 'Mine', 'own'],
    ['(function f() { f() })()', 'RangeError', 'Maximum call stack size exceeded'],
    ['JSON.parse("{")', 'SyntaxError', 'Expected property name'],
    ['`never ends', 'SyntaxError', 'Unexpected end of input'],
  ])('%j is %s', async (code, ename, evalue) => {
    const error = errorOf(await run(code))
    expect(error?.ename).toBe(ename)
    expect(error?.evalue.startsWith(evalue)).toBe(true)
  })

  test('show their causes', async () => {
    const { traceback = [] } =
      errorOf(await run('throw new Error("outer", { cause: new Error("inner") })')) ?? {}
    expect(traceback).toContain('Caused by: Error: inner')
  })

  test('that nobody catches are told and do not end the kernel', async () => {
    const events = await run(
      'var kept = 1; setTimeout(() => { throw new Error("in a timer") }); Promise.reject(new Error("unhandled")); await new Promise((resolve) => setTimeout(resolve, 50))',
    )
    expect(textsOf(events, 'stderr')).toContain('Uncaught Error: in a timer')
    expect(textsOf(events, 'stderr')).toContain('Uncaught (in promise) Error: unhandled')
    expect(resultsOf(await run('kept'))).toEqual(['1'])
  })

  test('process.exit() ends the kernel, and the next run gets a new one', async () => {
    const fresh = await createContext(execd, 'javascript')
    expect(errorOf(await runCode(execd, fresh, 'process.exit(3)'))?.evalue).toContain(
      'it exited with status 3',
    )
    const next = await runCode(execd, fresh, 'typeof kept')
    expect(textsOf(next, 'stderr')).toContain('new javascript kernel')
    expect(resultsOf(next)).toEqual(["'undefined'"])
    await execd.call(`/code/contexts/${fresh}`, { method: 'DELETE' })
  })
})

describe('interrupts', () => {
  test.each([
    ['a loop', 'while (true) {}'],
    ['a loop that catches everything', 'while (true) { try { JSON.parse("{") } catch {} }'],
    ['a loop after an await', 'await null; while (true) {}'],
    [
      'a loop in a timer',
      'setTimeout(() => { console.log("go"); while (true) {} }); await new Promise(() => {})',
    ],
    ['an await', 'await new Promise((resolve) => setTimeout(resolve, 60_000))'],
    ['an await of what never comes', 'await new Promise(() => {})'],
    ['a child', 'require("child_process").execSync("sleep 60")'],
    ['endless output', 'while (true) console.log("x")'],
    ['endless errors', 'while (true) process.stderr.write("x")'],
  ])('end %s', async (_what, code) => {
    await run('var kept = 1')
    const live = await followCode(execd, javascript, code)
    await live.see(({ type }) => type === (/console.log\(/.test(code) ? 'stdout' : 'execution_count'))
    expect(await interrupt(execd, javascript)).toBe(200)
    expect(errorOf(await live.end)).toMatchObject({ ename: 'KeyboardInterrupt', evalue: 'interrupted' })
    const next = await run(
      'console.log("out"); console.error("err"); await new Promise((resolve) => setTimeout(resolve)); kept',
    )
    expect([stdoutOf(next), textsOf(next, 'stderr'), resultsOf(next)]).toEqual(['out\n', 'err\n', ['1']])
  })

  test('end what an earlier cell has left running, when it keeps the next from beginning', async () => {
    const flag = join(execd.workdir, 'loops')
    await run(
      `var kept = 3; setTimeout(() => { require('fs').writeFileSync('${flag}', ''); while (true) {} }, 20); 1`,
    )
    await until(async () => existsSync(flag), 'the loop')
    const live = await followCode(
      execd,
      javascript,
      'await new Promise((resolve) => setTimeout(resolve, 60_000))',
    )
    await live.see(({ type }) => type === 'init')
    expect(await interrupt(execd, javascript)).toBe(200)
    expect(errorOf(await live.end)?.ename).toBe('KeyboardInterrupt')
    expect(resultsOf(await run('kept'))).toEqual(['3'])
  })

  test('and awaits of what never comes survive the collection of garbage', async () => {
    await run(
      'var v8 = require("v8"); v8.setFlagsFromString("--expose-gc"); var collect = require("vm").runInNewContext("gc")',
    )
    const code = 'setInterval(() => { collect(); console.log("tick") }, 5); await new Promise(() => {})'
    const live = await followCode(execd, javascript, code)
    for (let tick = 0; tick < 3; tick++) await live.see(({ text }) => text?.includes('tick\n') ?? false)
    expect(await interrupt(execd, javascript)).toBe(200)
    expect(errorOf(await live.end)?.ename).toBe('KeyboardInterrupt')
    expect(resultsOf(await run('collect(); collect(); "alive"'))).toEqual(["'alive'"])
  })
})

describe('TypeScript', () => {
  const runTypes = (code: string) => run(code, typescript)

  test('loses its types, in the same places', async () => {
    await runTypes(
      'interface Point { x: number }\ntype Id = string\nconst p: Point = { x: 1 }\nlet id: Id = "a" as Id',
    )
    expect(
      resultsOf(await runTypes('const f = <T,>(value: T): T => value\nf<number>(p.x!) satisfies number')),
    ).toEqual(['1'])
    const { traceback = [] } =
      errorOf(await runTypes('function g(n: number): never {\n  throw new Error("bad " + n)\n}\ng(3)')) ?? {}
    expect(traceback[1]).toMatch(/^ {4}at g \(cell_\d+\.ts:2:9\)$/)
  })

  test('has what makes code of types', async () => {
    await runTypes(
      'enum Color { Red, Green }\nnamespace N { export const n = 1 }\nclass C { constructor(readonly x: number) {} }',
    )
    expect(resultsOf(await runTypes('[Color.Green, Color[0], N.n, new C(2).x]'))).toEqual([
      "[ 1, 'Red', 1, 2 ]",
    ])
  })

  test('imports values and not types', async () => {
    const code =
      'import type { Stats } from "fs"\nimport { statSync, type BigIntStats } from "node:fs"\nconst s: Stats = statSync("/")\ns.isDirectory()'
    expect(resultsOf(await runTypes(code))).toEqual(['true'])
  })

  test('shows where it is wrong', async () => {
    expect(errorOf(await runTypes('const x: number = ;'))).toEqual({
      ename: 'SyntaxError',
      evalue: 'Expression expected',
      traceback: [
        expect.stringMatching(/^cell_\d+\.ts:1$/),
        'const x: number = ;',
        expect.stringMatching(/^ +\^$/),
        'SyntaxError: Expression expected',
      ],
    })
  })

  test('warns of nothing', async () => {
    const fresh = await createContext(execd, 'typescript')
    const events = await runCode(execd, fresh, 'const a: number = 1\nawait import("fs")\na')
    expect(textsOf(events, 'stderr')).toBe('')
  })
})

test('an old Node of the image is passed by', async () => {
  const bin = join(execd.workdir, 'old')
  mkdirSync(bin)
  symlinkSync('/bin/false', join(bin, 'node'))
  const id = await createContext(execd, 'javascript', undefined, { PATH: `${bin}:/usr/bin:/bin` })
  expect(resultsOf(await run('Number(process.versions.node.split(".")[0]) >= 22', id))).toEqual(['true'])
})
