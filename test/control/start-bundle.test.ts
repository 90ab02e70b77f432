import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import {
  type BundledFile,
  CODE_FILE,
  COMPILED_FILE,
  gatherStart,
  START_FILE,
} from '../../control/runtime/start-bundle.ts'

const FILES: BundledFile[] = [
  {
    name: 'main.js',
    needs: ['a.js', 'b.js'],
    code: '"use strict";const a=require("./a.js"),b=require("./b.js");console.log(a.say(b.name),require("node:path").basename(__dirname)===b.dir);require("./late.js")',
  },
  {
    name: 'a.js',
    needs: ['b.js'],
    code: '"use strict";const b=require("./b.js");console.log("a loads",b.name);exports.say=name=>"say "+name',
  },
  {
    name: 'b.js',
    needs: [],
    code: 'console.log("b loads");module.exports={name:"b",dir:require("node:path").basename(__dirname),later:()=>require("./late.js")}',
  },
  {
    name: 'late.js',
    needs: ['b.js', 'c.js'],
    code: 'const b=require("./b.js");require("./c.js");console.log("late has",b.name,b.later()===module.exports)',
  },
  { name: 'c.js', needs: [], code: 'console.log("c loads")' },
  { name: 'worker.js', needs: ['b.js'], code: 'console.log("worker has",require("./b.js").name)' },
]

function run(entry: string, more: Record<string, string> = {}): string[] {
  const dir = mkdtempSync(join(tmpdir(), 'start-'))
  onTestFinished(() => rmSync(dir, { recursive: true }))
  for (const [name, code] of [...gatherStart(FILES, 'main.js'), ...Object.entries(more)])
    writeFileSync(join(dir, name), code)
  return execFileSync(process.execPath, [join(dir, entry)], { encoding: 'utf8' })
    .trim()
    .split('\n')
}

test('gatherStart() puts into one file what is needed at once, and no more', () => {
  const made = gatherStart(FILES, 'main.js')
  expect([...made.keys()].sort()).toEqual([...FILES.map(({ name }) => name), START_FILE, CODE_FILE].sort())
  expect(made.get(CODE_FILE)).toContain('b loads')
  expect(made.get(CODE_FILE)).not.toMatch(/c loads|late has|worker has/)
  expect(made.get('c.js')).toBe('console.log("c loads")')
})

test('every module runs once, in the order of need, and is the same for all', () => {
  expect(run('main.js')).toEqual(['b loads', 'a loads b', 'say b true', 'c loads', 'late has b true'])
})

test('another program finds what it shares with the start, and does not start it', () => {
  expect(run('worker.js')).toEqual(['b loads', 'worker has b'])
})

test('what is no code of V8 beside it is not minded', () => {
  expect(run('worker.js', { [COMPILED_FILE]: 'no such thing' })).toEqual(['b loads', 'worker has b'])
})
