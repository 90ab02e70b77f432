import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { Ledger } from '../../../control/image/ledger.ts'
import { createSilentLogger } from '../../../lib/log.ts'

function openLedger(now = () => 7) {
  const folder = mkdtempSync(join(tmpdir(), 'ledger-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const path = join(folder, 'ledger.json')
  const open = () => new Ledger({ path, log: createSilentLogger(), now })
  return { path, folder, open }
}

test('a ledger knows what everybody may use apart from what came by a login, also after a start', async () => {
  const { open, folder } = openLedger()
  const ledger = open()
  await ledger.note('r/a:1', { id: 'one', digest: 'sha256:1' }, true)
  await ledger.note('r/a:1', { id: 'two', digest: 'sha256:2' }, false)
  await ledger.note('r/b:1', { id: 'two' }, false)
  ledger.touch('two')
  await ledger.close()
  const again = open()
  expect(again.find('r/a:1')).toMatchObject({ shared: { id: 'one' }, guarded: { id: 'two' } })
  expect(again.find('r/c:1')).toEqual({})
  expect(again.namesOf('two')).toEqual({ references: ['r/a:1', 'r/b:1'], isShared: false })
  expect([again.lastUse('two'), again.lastUse('one')]).toEqual([7, undefined])
  await again.forget('two')
  expect(open().find('r/a:1')).toMatchObject({ shared: { id: 'one' } })
  expect(open().namesOf('two').references).toEqual([])
  expect(readdirSync(folder)).toEqual(['ledger.json'])
})

test('a tag that has moved stands for one content, and the other keeps no name', async () => {
  const ledger = openLedger().open()
  await ledger.note('r/a:1', { id: 'one' }, true)
  await ledger.note('r/a:1', { id: 'two' }, true)
  expect([ledger.find('r/a:1').shared?.id, ledger.namesOf('one').references]).toEqual(['two', []])
})

test('tags without end are forgotten, the oldest first', async () => {
  const { open, path } = openLedger()
  const ledger = open()
  await Promise.all(Array.from({ length: 5001 }, (_, at) => ledger.note(`r/a:${at}`, { id: 'one' }, true)))
  expect([ledger.find('r/a:0'), ledger.find('r/a:5000').shared?.id]).toEqual([{}, 'one'])
  expect((JSON.parse(readFileSync(path, 'utf8')) as { entries: unknown[] }).entries).toHaveLength(5000)
}, 60_000)

test.each(['', '{', '[]', '{"entries":7}'])(
  'a file that holds %j is no ledger, and is written anew',
  async (text) => {
    const { open, path } = openLedger()
    writeFileSync(path, text)
    const ledger = open()
    await ledger.note('r/a:1', { id: 'one' }, true)
    expect(open().find('r/a:1').shared?.id).toBe('one')
  },
)
