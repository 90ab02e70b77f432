import {
  chmodSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { createAlwaysWatch, parseAlwaysFile, readAlwaysFiles } from '../../../egress/sidecar/always-files.ts'
import { openPolicyFile } from '../../../egress/sidecar/policy-file.ts'
import { AUTHORITY_FILE, writeTrust } from '../../../egress/sidecar/trust.ts'
import { createLogger } from '../../../lib/log.ts'

const sandbox = { id: 'pod', address: '127.0.0.1', interface: 'pod', token: 'token' }
const policy = { defaultAction: 'deny' as const, egress: [{ action: 'allow' as const, target: 'a.example' }] }
const silent = createLogger({ program: 'egress', write: () => {} })
let directory = ''

beforeEach(() => {
  const made = mkdtempSync(join(tmpdir(), 'sidecar-'))
  directory = made
  onTestFinished(() => rmSync(made, { recursive: true, force: true }))
})

describe('the file of the policy', () => {
  test('is whole, the owner’s alone, and read again', () => {
    const path = join(directory, 'policy.json')
    const files = openPolicyFile(path, sandbox)
    expect(files.load()).toEqual([])
    files.prepare({ ...sandbox, policy }).discard()
    expect(readdirSync(directory)).toEqual([])
    files.prepare({ ...sandbox, policy }).commit()
    expect(readFileSync(path, 'utf8')).toBe(`${JSON.stringify(policy, undefined, 2)}\n`)
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(files.load()).toEqual([{ ...sandbox, policy }])
    files.prepare(sandbox).commit()
    expect(files.load()).toEqual([])
  })

  test('keeps the mode that it has, and an empty one says nothing', () => {
    const path = join(directory, 'policy.json')
    writeFileSync(path, '\n')
    chmodSync(path, 0o640)
    const files = openPolicyFile(path, sandbox)
    expect(files.load()).toEqual([])
    files.prepare({ ...sandbox, policy }).commit()
    expect(statSync(path).mode & 0o777).toBe(0o640)
  })

  test.each(['{"defaultAction":', '[]', '{"defaultAction":"block"}', '{"egress":[{"target":""}]}'])(
    'R8: %j is no reason to take the policy of the environment',
    (text) => {
      const path = join(directory, 'policy.json')
      writeFileSync(path, text)
      expect(() => openPolicyFile(path, sandbox).load()).toThrow(`Cannot use the policy in "${path}"`)
    },
  )
})

describe('the files of the operator', () => {
  test('have a target a line', () => {
    const text = '# of the cluster\n\n 10.0.0.0/8 \n*.internal.example\n'
    expect(parseAlwaysFile(text, 'f')).toEqual(['10.0.0.0/8', '*.internal.example'])
  })

  test.each([
    ['a..b', 'line 2'],
    ['set:pypi', 'must be a target itself'],
    ['10.0.0.0/40', 'line 2'],
  ])('%j is refused by file and line', (target, problem) => {
    expect(() => parseAlwaysFile(`a.example\n${target}\n`, '/f')).toThrow(
      new RegExp(`"/f": line 2, .*${problem === 'line 2' ? '' : problem}`),
    )
  })

  test('R7: are put in force when they change, and as a whole or not at all', async () => {
    const path = (name: string) => join(directory, name)
    writeFileSync(path('deny.always'), 'a.example\n')
    const known = readAlwaysFiles(directory)
    expect(known).toEqual({ deny: ['a.example'], allow: [] })
    const changes: unknown[] = []
    const errors: string[] = []
    let now = 0
    const look = createAlwaysWatch({
      directory,
      known,
      change: async (floor) => void changes.push(floor),
      log: { ...silent, error: (message) => void errors.push(message) },
      now: () => now,
    })
    writeFileSync(path('deny.always'), 'b.example\n')
    writeFileSync(path('allow.always'), 'a b\n')
    await look()
    now += 30_000
    await look()
    now += 30_000
    await look()
    expect([changes, errors.length]).toEqual([[], 1])
    writeFileSync(path('allow.always'), 'c.example\n')
    now += 30_000
    await look()
    now += 30_000
    await look()
    expect(changes).toEqual([{ deny: ['b.example'], allow: ['c.example'] }])
  })
})

test('what the workload is to trust is not written through what it has put there', () => {
  const elsewhere = join(directory, 'elsewhere')
  writeFileSync(elsewhere, 'kept')
  for (const name of [AUTHORITY_FILE, `${AUTHORITY_FILE}.new`]) symlinkSync(elsewhere, join(directory, name))
  writeTrust(directory, 'certificate')
  expect(readFileSync(elsewhere, 'utf8')).toBe('kept')
  expect(readFileSync(join(directory, AUTHORITY_FILE), 'utf8')).toBe('certificate')
  expect(statSync(join(directory, AUTHORITY_FILE)).mode & 0o777).toBe(0o644)
})
