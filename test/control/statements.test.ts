// Statements that are kept give the same as ones that are prepared anew, whoever had them before.

import Sqlite from 'better-sqlite3'
import { expect, onTestFinished, test } from 'vitest'
import { keepStatements } from '../../control/store/statements.ts'

function open(): { raw: Sqlite.Database; kept: Sqlite.Database } {
  const raw = new Sqlite(':memory:')
  onTestFinished(() => void raw.close())
  raw.exec(`CREATE TABLE t (a, b); INSERT INTO t VALUES (1, 'x')`)
  return { raw, kept: keepStatements(raw) }
}

test('a statement is prepared once, also by way of a transaction', () => {
  const { kept } = open()
  const first = kept.prepare('SELECT * FROM t')
  kept.transaction(() => expect(kept.prepare('SELECT * FROM t')).toBe(first))()
  expect(kept.prepare('SELECT a FROM t')).not.toBe(first)
})

test('whoever asked for lists before does not make them of the next rows', () => {
  const { kept } = open()
  expect(kept.prepare('SELECT * FROM t').raw().get()).toEqual([1, 'x'])
  expect(kept.prepare('SELECT * FROM t').get()).toEqual({ a: 1, b: 'x' })
})

test('a table that has changed is read as it is now', () => {
  const { raw, kept } = open()
  expect(kept.prepare('SELECT * FROM t').get()).toEqual({ a: 1, b: 'x' })
  raw.exec('ALTER TABLE t ADD COLUMN c DEFAULT 5')
  expect(kept.prepare('SELECT * FROM t').get()).toEqual({ a: 1, b: 'x', c: 5 })
})

test('the ones that were used long ago are given up, and very long ones are not kept at all', () => {
  const { kept } = open()
  const old = kept.prepare('SELECT 0 AS n')
  const used = kept.prepare('SELECT 1 AS n')
  for (let n = 2; n < 300; n++) {
    kept.prepare(`SELECT ${n} AS n`)
    kept.prepare('SELECT 1 AS n')
  }
  expect(kept.prepare('SELECT 1 AS n')).toBe(used)
  expect(kept.prepare('SELECT 0 AS n')).not.toBe(old)
  const wide = `SELECT a FROM t WHERE a IN (${'?, '.repeat(4000)}?)`
  expect(kept.prepare(wide)).not.toBe(kept.prepare(wide))
})
