// Bodies that are made to cost much, and requests that name many files: they are refused by their size before anything is made of
// them, or worked on while others are answered.

import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeEach, expect, test } from 'vitest'
import type { Daemon } from './daemon.ts'
import { useWorkplace } from './files/workplace.ts'

let execd: Daemon
let dir: string
let ofTest: string
useWorkplace((place) => {
  execd = place.execd
  dir = place.dir
})
beforeEach(() => {
  ofTest = join(dir, 'of')
})

const list = (count: number, item: (index: number) => string) =>
  Array.from({ length: count }, (_, i) => item(i))

test.each([
  ['/command', '['.repeat(1e6) + ']'.repeat(1e6), 'The body may be nested 64 deep at most: found more'],
  ['/command', `{"command":"true","x":[${'{},'.repeat(2e6)}0]}`, 'The body may have 40000 values at most'],
  ['/code', `{"code":"1","x":[${'0,'.repeat(30_000)}0]}`, '"x" may have 20000 items at most: found 30001'],
  [
    '/command',
    `{"command":"true","envs":{${list(5001, (i) => `"v${i}":"1"`)}}}`,
    '"envs" may have 5000 variables at most: found 5001',
  ],
  [
    '/files/permissions',
    `{${list(60_000, (i) => `"/tmp/${i}":{"mode":644}`)}}`,
    'The body may have 20000 items at most: found 60000',
  ],
  [
    '/files/mv',
    `[${list(20_001, (i) => `{"src":"/tmp/${i}","dest":"/tmp/m"}`)}]`,
    'The body may have 20000 items at most: found 20001',
  ],
  [
    '/files/replace',
    `{${list(20_001, (i) => `"/tmp/${i}":{"old":"a","new":"b"}`)}}`,
    'The body may have 20000 items at most: found 20001',
  ],
  [
    '/directories',
    `{${list(20_001, (i) => `"/tmp/${i}":null`)}}`,
    'The body may have 20000 items at most: found 20001',
  ],
])('%s refuses a body with too much in it: %#', async (path, body, message) => {
  const response = await execd.call(path, { method: 'POST', body })
  expect(response.status).toBe(400)
  expect(((await response.json()) as { message: string }).message).toContain(message)
})

test('others are answered while many directories are made', async () => {
  const wanted = Object.fromEntries(list(4000, (i) => join(ofTest, String(i))).map((path) => [path, null]))
  let isOver = false
  const making = execd
    .call('/directories', { method: 'POST', body: JSON.stringify(wanted) })
    .finally(() => (isOver = true))
  let answered = 0
  while (!isOver) {
    await execd.call('/ping')
    answered++
  }
  expect((await making).status).toBe(200)
  expect(answered).toBeGreaterThan(10)
  const listing = await execd.call(`/directories/list?path=${ofTest}`)
  expect(await listing.json()).toHaveLength(4000)
})

test('others are answered while a large directory is removed', async () => {
  mkdirSync(ofTest)
  for (let index = 0; index < 10_000; index++) writeFileSync(join(ofTest, String(index)), '')
  let isOver = false
  const removing = execd
    .call(`/directories?path=${ofTest}`, { method: 'DELETE' })
    .finally(() => (isOver = true))
  let answered = 0
  while (!isOver) {
    await execd.call('/ping')
    answered++
  }
  expect((await removing).status).toBe(200)
  expect(answered).toBeGreaterThan(10)
  expect(existsSync(ofTest)).toBe(false)
})
