import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { compilePolicy } from '../../../egress/policy/compile.ts'
import { parseMutation, parseVault } from '../../../egress/vault/parse.ts'
import { SandboxVaults } from '../../../egress/vault/sandbox-vaults.ts'
import { openSealing } from '../../../egress/vault/sealing.ts'
import { openVaultFiles } from '../../../egress/vault/vault-files.ts'
import { createLogger } from '../../../lib/log.ts'

const SECRET = 'tok-very-secret-1'
const limits = { ports: [80, 443] }
const covering = compilePolicy({
  defaultAction: 'deny',
  egress: [{ action: 'allow', target: 'api.example.com' }],
})
const uncovering = compilePolicy({ defaultAction: 'allow', egress: [] })
const body = parseVault(
  JSON.stringify({
    credentials: [{ name: 'c', source: { value: SECRET } }],
    bindings: [
      { name: 'b', match: { hosts: ['api.example.com'] }, auth: { type: 'bearer', credential: 'c' } },
    ],
  }),
  limits,
)
const rotation = parseMutation(
  JSON.stringify({ credentials: { replace: [{ name: 'c', source: { value: 'tok-2' } }] } }),
  limits,
)
const asked = { scheme: 'https', host: 'api.example.com', port: 443, method: 'GET', target: '/' } as const

test('C8: what a change says is in force when it returns', () => {
  const { open } = place()
  const vaults = open()
  vaults.create('one', body, covering)
  expect(authorization(vaults)).toBe(`Bearer ${SECRET}`)
  vaults.change('one', rotation, covering)
  expect(authorization(vaults)).toBe('Bearer tok-2')
  vaults.delete('one')
  expect(vaults.vaultOf('one')).toBeUndefined()
})

test('C9: a sandbox without a vault is told apart without asking anybody', () => {
  expect(place().open().vaultOf('one')).toBeUndefined()
})

test('C10: a vault is there after a restart, with its revision', () => {
  const { open } = place()
  const before = open()
  before.create('one', body, covering)
  before.change('one', rotation, covering)
  const after = open()
  expect(after.get('one').revision).toBe(2)
  expect(authorization(after)).toBe('Bearer tok-2')
})

test('C10: a policy that would leave a binding without its rule is refused', () => {
  const vaults = place().open()
  vaults.create('one', body, covering)
  expect(() => vaults.requireCovered('one', covering)).not.toThrow()
  expect(() => vaults.requireCovered('one', uncovering)).toThrow(
    'credential vault policy validation: binding "b"',
  )
  expect(() => vaults.requireCovered('other', uncovering)).not.toThrow()
})

test('a vault that is refused leaves what there was', () => {
  const vaults = place().open()
  expect(() => vaults.create('one', body, uncovering)).toThrow('explicit networkPolicy.egress')
  expect(() => vaults.get('one')).toThrow('credential vault not found')
  vaults.create('one', body, covering)
  expect(() => vaults.change('one', rotation, uncovering)).toThrow('explicit networkPolicy.egress')
  expect(authorization(vaults)).toBe(`Bearer ${SECRET}`)
  expect(() => vaults.create('one', body, covering)).toThrow('credential vault already exists')
})

test('a deleted vault begins with revision 1 again', () => {
  const vaults = place().open()
  vaults.create('one', body, covering)
  vaults.change('one', rotation, covering)
  vaults.delete('one')
  expect(() => vaults.delete('one')).toThrow('credential vault not found')
  expect(vaults.create('one', body, covering).revision).toBe(1)
})

test('on the disk no secret can be read, and only the owner can read anything', () => {
  const { open, folder } = place()
  open().create('one', body, covering)
  for (const path of ['keys', 'vaults/one.vault']) {
    expect(statSync(join(folder, path)).mode & 0o777).toBe(0o600)
    const text = readFileSync(join(folder, path), 'latin1')
    for (const hidden of [SECRET, Buffer.from(SECRET).toString('base64').slice(0, 20), 'api.example.com'])
      expect(text).not.toContain(hidden)
  }
  expect(statSync(join(folder, 'vaults')).mode & 0o777).toBe(0o700)
})

test('nothing is left of a vault that is gone', () => {
  const { open, folder } = place()
  const vaults = open()
  vaults.create('one', body, covering)
  vaults.forget('one')
  expect(readdirSync(join(folder, 'vaults'))).toEqual([])
})

test.each([
  [
    'of another sandbox',
    (folder: string) => [readFileSync(join(folder, 'vaults/one.vault'), 'utf8'), 'two'] as const,
  ],
  [
    'with another revision',
    (folder: string) =>
      [
        readFileSync(join(folder, 'vaults/one.vault'), 'utf8').replace('"revision":1', '"revision":2'),
        'one',
      ] as const,
  ],
  [
    'cut off',
    (folder: string) => [readFileSync(join(folder, 'vaults/one.vault'), 'utf8').slice(0, 60), 'one'] as const,
  ],
])('a file %s is not believed, and its sandbox has no secrets until it gets new ones', (_what, forge) => {
  const { open, folder } = place()
  open().create('one', body, covering)
  const [text, id] = forge(folder)
  writeFileSync(join(folder, `vaults/${id}.vault`), text)
  const lines: string[] = []
  const vaults = open((line) => lines.push(line))
  expect(lines.join()).toContain('cannot read a credential vault')
  expect(lines.join()).not.toContain(SECRET)
  expect(vaults.vaultOf(id)).toBeUndefined()
  expect(() => vaults.get(id)).toThrow(expect.objectContaining({ status: 500 }))
  expect(() => vaults.create(id, body, covering)).toThrow(expect.objectContaining({ status: 409 }))
  vaults.delete(id)
  expect(vaults.create(id, body, covering).revision).toBe(1)
})

test('a new key first in its file is used from then on, and the old one can go', () => {
  const { open, folder } = place()
  open().create('one', body, covering)
  const keys = join(folder, 'keys')
  const newKey = `second ${Buffer.alloc(32, 7).toString('base64')}\n`
  writeFileSync(keys, newKey + readFileSync(keys, 'utf8'))
  open()
  writeFileSync(keys, newKey)
  expect(authorization(open())).toBe(`Bearer ${SECRET}`)
})

test.each(['', 'one', 'one AAAA', `a ${'A'.repeat(43)}=\na ${'A'.repeat(43)}=`])(
  'a file of keys with %j stops the start, and no key is told',
  (text) => {
    const { folder, open } = place()
    open()
    writeFileSync(join(folder, 'keys'), text)
    expect(open).toThrow(join(folder, 'keys'))
    expect(open).not.toThrow('AAAA')
  },
)

function place() {
  const folder = mkdtempSync(join(tmpdir(), 'vaults-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const open = (write: (line: string) => void = () => {}) => {
    const log = createLogger({ program: 'egress', level: () => 'info', write })
    return new SandboxVaults(openVaultFiles(join(folder, 'vaults'), openSealing(join(folder, 'keys'))), log)
  }
  return { folder, open }
}

function authorization(vaults: SandboxVaults): string | undefined {
  const choice = vaults.vaultOf('one')?.choose(asked)
  return choice?.kind === 'inject' ? choice.headers[0]?.[1] : undefined
}
