import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const ROOT = join(import.meta.dirname, '../..')

/** What each entry of the package exports, in a process of its own that has the hook or not. */
function exportsOf(hook: string[]): unknown {
  const source = `
    const names = {}
    for (const entry of ['', '/better-sqlite3', '/sqlite-core'])
      names[entry] = Object.keys(await import('drizzle-orm' + entry)).sort()
    console.log(JSON.stringify(names))`
  return JSON.parse(
    execFileSync(process.execPath, [...hook, '--input-type=module', '-e', source], {
      cwd: ROOT,
      encoding: 'utf8',
    }),
  )
}

test('the package is the same as without the shorter way to it', () => {
  const plain = exportsOf([])
  expect(plain).toMatchObject({ '/sqlite-core': expect.arrayContaining(['sqliteTable']) })
  expect(exportsOf(['--import', './control/quick-imports.ts'])).toEqual(plain)
})
