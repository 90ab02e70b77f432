import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { openSandboxFiles } from '../../egress/sandbox-files.ts'
import { createLogger } from '../../lib/log.ts'

function setup() {
  const directory = mkdtempSync(join(tmpdir(), 'sandbox-files-'))
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }))
  const lines: string[] = []
  const log = createLogger({ program: 'test', write: (line) => void lines.push(line) })
  return { directory, lines, open: () => openSandboxFiles(directory, log) }
}
const stored = { id: 'a-1', address: '10.88.0.5', interface: 'osbab12aa', token: 'secret' }

test('what was committed is found again, readable by its owner alone', () => {
  const { directory, open } = setup()
  const policy = {
    defaultAction: 'deny' as const,
    egress: [{ action: 'allow' as const, target: 'A.example' }],
  }
  open()
    .prepare({ ...stored, policy })
    .commit()
  open()
    .prepare({ ...stored, id: 'b' })
    .commit()
  expect(open().load()).toEqual([
    { ...stored, policy },
    { ...stored, id: 'b' },
  ])
  expect(statSync(join(directory, 'a-1.json')).mode & 0o777).toBe(0o600)
})

test('the old file stands until the new one is committed, and after it is discarded', () => {
  const { directory, open } = setup()
  const files = open()
  files.prepare(stored).commit()
  const before = readFileSync(join(directory, 'a-1.json'), 'utf8')
  const next = files.prepare({ ...stored, address: '10.88.0.6' })
  expect(readFileSync(join(directory, 'a-1.json'), 'utf8')).toBe(before)
  next.discard()
  expect(readdirSync(directory)).toEqual(['a-1.json'])
  files.remove('a-1')
  files.remove('a-1')
  expect(readdirSync(directory)).toEqual([])
})

test('a file that is damaged is told of, without its secret, and the others are read', () => {
  const { directory, lines, open } = setup()
  open().prepare(stored).commit()
  writeFileSync(join(directory, 'bad.json'), '{"token":"hush')
  writeFileSync(
    join(directory, 'worse.json'),
    JSON.stringify({ ...stored, policy: { egress: [{ target: '*' }] } }),
  )
  expect(open().load()).toEqual([stored])
  expect(lines).toHaveLength(2)
  expect(lines.join('')).toContain('sandbox=bad')
  expect(lines.join('')).not.toContain('hush')
})

test('what an interrupted write has left is cleared away', () => {
  const { directory, open } = setup()
  open().prepare(stored)
  expect(readdirSync(directory)).toHaveLength(1)
  expect(open().load()).toEqual([])
  expect(readdirSync(directory)).toEqual([])
})
