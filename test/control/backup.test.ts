// Backup and restore: a copy of one moment, made while control writes, that nobody else can read, and that is put back whole or
// not at all. The programs are run as users run them.

import { spawn } from 'node:child_process'
import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Sqlite from 'better-sqlite3'
import { expect, onTestFinished, test } from 'vitest'
import { hashFile } from '../../control/backup/files.ts'
import { type Manifest, parseManifest } from '../../control/backup/manifest.ts'
import { restoreBackup } from '../../control/backup/restore-backup.ts'
import { takeBackup } from '../../control/backup/take-backup.ts'
import { KeyStore } from '../../control/store/keys.ts'
import { migrate, sortMigrations } from '../../control/store/migrate.ts'
import { Store } from '../../control/store/sqlite.ts'
import { openLock } from '../../lib/lock.ts'
import { MIGRATIONS, MINIMAL } from '../support/control-app.ts'
import { startControlProcess } from '../support/control-process.ts'
import { sandboxRow } from '../support/sandbox-row.ts'

const CREATE_MS = 5
const PROGRAM = join(import.meta.dirname, '../../control/backup/main.ts')
const ALL = sortMigrations(
  readdirSync(MIGRATIONS).map((name) => ({ name, sql: readFileSync(join(MIGRATIONS, name), 'utf8') })),
)
const NOW = 1_800_000_000_000

function openFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'backup-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true, maxRetries: 3 }))
  return folder
}

/** A data directory with a database in which these sandboxes are. */
function openDataDir(...ids: string[]): string {
  const dataDir = openFolder()
  const store = new Store({ path: join(dataDir, 'control.db'), migrationsDir: MIGRATIONS })
  for (const id of ids) store.insert(sandboxRow({ id }))
  store.close()
  return dataDir
}

function withStore<T>(dataDir: string, work: (store: Store) => T): T {
  const store = new Store({ path: join(dataDir, 'control.db'), migrationsDir: MIGRATIONS })
  try {
    return work(store)
  } finally {
    store.close()
  }
}

const idsIn = (dataDir: string) => withStore(dataDir, (store) => store.all().map(({ id }) => id))

const backup = (dataDir: string, to = join(openFolder(), 'backup')) =>
  takeBackup({ dataDir, to, programVersion: '1.2.3', now: NOW })

const restore = (from: string, dataDir: string, schemaVersion = ALL.length) =>
  restoreBackup({ from, dataDir, schemaVersion, now: NOW })

async function run(...args: string[]): Promise<{ code: number | null; output: string }> {
  const child = spawn(process.execPath, [PROGRAM, ...args], {
    env: { PATH: process.env.PATH, HOME: '/nonexistent' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk) => {
      output += chunk
    })
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, output })))
}

const send = (url: string, method: string, body?: unknown) =>
  fetch(url, {
    method,
    ...(body !== undefined && {
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    }),
  })
const create = async (url: string) => {
  const response = await send(url, 'POST', MINIMAL)
  expect(response.status).toBe(202)
  return ((await response.json()) as { id: string }).id
}

test('taken while control writes, then restored: what the rows say and what there is agree again', async () => {
  const dataDir = openFolder()
  const place = join(openFolder(), 'backup')
  const first = await startControlProcess(dataDir, CREATE_MS)
  const kept = [await create(first.sandboxes), await create(first.sandboxes)]
  const deletedLater = await create(first.sandboxes)
  let writes = 0
  let over = false
  const load = Array.from({ length: 4 }, async (_, lane) => {
    for (let round = 0; !over; round++) {
      const { status } = await send(`${first.sandboxes}/${kept[lane % 2]}/metadata`, 'PATCH', {
        [`k${lane}`]: `v${round}`,
      })
      expect(status).toBe(200)
      writes += 1
    }
  })
  const taken = await run('backup', '--data-dir', dataDir, '--to', place)
  const during = writes
  over = true
  await Promise.all(load)
  expect([taken.code, taken.output]).toEqual([0, expect.stringContaining('3 sandboxes')])
  expect(during).toBeGreaterThan(0)
  const makeLater = await create(first.sandboxes)
  expect((await send(`${first.sandboxes}/${deletedLater}`, 'DELETE')).status).toBe(204)

  const early = await run('restore', '--data-dir', dataDir, '--from', place)
  // The fixture takes no lock, as main.ts does; but its database is in use all the same.
  expect([early.code, early.output]).toEqual([1, expect.stringContaining('another program uses')])
  await first.kill('SIGTERM')
  const restored = await run('restore', '--data-dir', dataDir, '--from', place)
  expect([restored.code, restored.output]).toEqual([
    0,
    expect.stringContaining('Restored 3 sandboxes as of '),
  ])

  const second = await startControlProcess(dataDir, CREATE_MS)
  const { items } = (await (await send(second.sandboxes, 'GET')).json()) as {
    items: { id: string; status: { state: string; reason: string } }[]
  }
  expect(new Map(items.map(({ id, status }) => [id, status.state]))).toEqual(
    new Map([...kept.map((id) => [id, 'Running'] as const), [deletedLater, 'Failed']]),
  )
  expect(items.find(({ id }) => id === deletedLater)?.status.reason).toBe('SANDBOX_LOST')
  expect(readdirSync(join(dataDir, 'sandboxes')).sort()).toEqual([...kept].sort())
  expect((await send(`${second.sandboxes}/${makeLater}`, 'GET')).status).toBe(404)
  expect((await send(`${second.sandboxes}/${await create(second.sandboxes)}`, 'DELETE')).status).toBe(204)
  await second.kill('SIGTERM')
}, 60_000)

test('a backup is one moment, however much is written while it is made', async () => {
  const dataDir = openDataDir()
  const store = new Store({ path: join(dataDir, 'control.db'), migrationsDir: MIGRATIONS })
  onTestFinished(() => store.close())
  // Some megabytes, so that the copy takes several steps.
  for (let at = 0; at < 3000; at++)
    store.insert(sandboxRow({ id: `s${at}`, env: { FILL: 'x'.repeat(4000) } }))
  const writing = new AbortController()
  const inserted = (async () => {
    for (let at = 0; !writing.signal.aborted; at++) {
      store.insert(sandboxRow({ id: `later${at}` }))
      await new Promise((resolve) => setImmediate(resolve))
    }
  })()
  const { place, manifest } = await backup(dataDir)
  writing.abort()
  await inserted
  const copy = new Sqlite(join(place, 'control.db'), { readonly: true })
  onTestFinished(() => void copy.close())
  const { sandboxes } = manifest
  expect(copy.prepare('SELECT count(*) AS sandboxes FROM sandboxes').get()).toEqual({ sandboxes })
  // Each row came with two events, in one transaction.
  expect(copy.prepare('SELECT count(*) AS n FROM events').get()).toEqual({ n: 2 * sandboxes })
  expect(store.all().length).toBeGreaterThan(sandboxes)
})

test('nobody else can read it, and it says what it is', async () => {
  const dataDir = openDataDir('a', 'b')
  const umask = process.umask(0)
  onTestFinished(() => void process.umask(umask))
  const { place, manifest } = await takeBackup({ dataDir, programVersion: '1.2.3', now: NOW })
  expect(place).toBe(join(dataDir, 'backups/20270115T080000Z'))
  const mode = (...path: string[]) => statSync(join(place, ...path)).mode & 0o777
  expect([mode('..'), mode(), mode('control.db'), mode('manifest.json')]).toEqual([
    0o700, 0o700, 0o600, 0o600,
  ])
  expect(readdirSync(place).sort()).toEqual(['control.db', 'manifest.json'])
  expect(parseManifest(readFileSync(join(place, 'manifest.json'), 'utf8'))).toEqual(manifest)
  expect(manifest).toMatchObject({
    takenAt: '2027-01-15T08:00:00.000Z',
    schemaVersion: ALL.length,
    programVersion: '1.2.3',
    sandboxes: 2,
    sha256: await hashFile(join(place, 'control.db')),
  })
})

test('of a data directory without a database, or into a place that is there, there is no backup', async () => {
  await expect(backup(openFolder())).rejects.toThrow(/there is no control\.db in it/)
  const place = openFolder()
  await expect(backup(openDataDir(), place)).rejects.toThrow(/is there already; name a directory that is not/)
  expect(readdirSync(place)).toEqual([])
})

test('of a database that is damaged there is no backup, and nothing half made is left', async () => {
  const dataDir = openDataDir(...Array.from({ length: 200 }, (_, at) => `sandbox-${at}`))
  damage(join(dataDir, 'control.db'))
  const place = join(openFolder(), 'backup')
  await expect(backup(dataDir, place)).rejects.toThrow(/Cannot back up .*damaged/)
  expect(existsSync(place)).toBe(false)
})

test('what is replaced is kept, with what its log still held', async () => {
  const dataDir = openDataDir('old')
  const { place } = await backup(dataDir)
  // As a control that was killed leaves it: the last changes are in the log alone.
  const store = new Store({ path: join(dataDir, 'control.db'), migrationsDir: MIGRATIONS })
  store.insert(sandboxRow({ id: 'new' }))
  for (const suffix of ['', '-wal'])
    copyFileSync(join(dataDir, `control.db${suffix}`), join(dataDir, `copy${suffix}`))
  store.close()
  for (const suffix of ['', '-wal'])
    copyFileSync(join(dataDir, `copy${suffix}`), join(dataDir, `control.db${suffix}`))

  const { replaced = '' } = await restore(place, dataDir)
  expect(idsIn(dataDir)).toEqual(['old'])
  const before = new Sqlite(replaced, { readonly: true })
  onTestFinished(() => void before.close())
  expect(before.prepare('SELECT id FROM sandboxes ORDER BY id').all()).toEqual([{ id: 'new' }, { id: 'old' }])
  expect(statSync(join(dataDir, 'control.db')).mode & 0o777).toBe(0o600)
})

test('into an empty data directory it is simply there', async () => {
  const { place } = await backup(openDataDir('a'))
  const dataDir = openFolder()
  expect(await restore(place, dataDir)).toMatchObject({ carriedKeys: 0, warnings: [] })
  expect(idsIn(dataDir)).toEqual(['a'])
})

test('a database that cannot be read any more is replaced, kept, and what that costs is said', async () => {
  const dataDir = openDataDir('a')
  const { place } = await backup(dataDir)
  writeFileSync(join(dataDir, 'control.db'), 'not a database at all')
  writeFileSync(join(dataDir, 'control.db-wal'), 'nor a log')
  const { replaced = '', warnings } = await restore(place, dataDir)
  expect(warnings).toEqual([expect.stringContaining('the keys are those of the backup')])
  expect(readFileSync(replaced, 'utf8')).toBe('not a database at all')
  expect(readFileSync(`${replaced}-wal`, 'utf8')).toBe('nor a log')
  expect(idsIn(dataDir)).toEqual(['a'])
})

test('keys are as they were just before: what was closed since then does not open again', async () => {
  const dataDir = openDataDir()
  const key = (id: string, name = id) => ({
    id,
    name,
    hash: `hash of ${id}`,
    role: 'admin' as const,
    tenant: null,
    createdAt: 1,
    createdBy: null,
    expiresAt: null,
    revokedAt: null,
    lastUsedAt: null,
  })
  withStore(dataDir, ({ database }) => {
    for (const id of ['stays', 'leaked', 'rotated']) new KeyStore(database).insert(key(id))
  })
  const { place } = await backup(dataDir)
  withStore(dataDir, ({ database }) => {
    const keys = new KeyStore(database)
    keys.revoke('leaked', 77)
    keys.rotate('rotated', { id: 'successor', hash: 'hash of successor', createdAt: 2, createdBy: null }, 88)
    keys.insert({ ...key('new'), createdAt: 3 })
  })
  const listed = () =>
    withStore(dataDir, ({ database }) => new KeyStore(database).list().sort((a, b) => (a.id < b.id ? -1 : 1)))
  const before = listed()
  expect(before).toHaveLength(5)
  expect(await restore(place, dataDir)).toMatchObject({ carriedKeys: 4, warnings: [] })
  expect(listed()).toEqual(before)
  // Where there are none, those of the backup stay.
  const other = openDataDir()
  expect(await restore(place, other)).toMatchObject({ carriedKeys: 0 })
  withStore(other, ({ database }) => expect(new KeyStore(database).list()).toHaveLength(3))
})

test('a backup of an earlier version is brought up to date by the next start', async () => {
  const dataDir = openFolder()
  const old = new Sqlite(join(dataDir, 'control.db'))
  migrate(old, ALL.slice(0, 1))
  old
    .prepare(
      `INSERT INTO sandboxes (id, state, image, entrypoint, env, metadata, extensions, limits, mounts, execd_token, egress_token,
        created_at, last_transition_at) VALUES ('early', 'Running', 'i', '[]', '{}', '{}', '{}', '{}', '[]', 'e', 'g', 1, 1)`,
    )
    .run()
  old.close()
  const { place, manifest } = await backup(dataDir)
  expect(manifest.schemaVersion).toBe(1)
  const other = openFolder()
  await restore(place, other)
  expect(idsIn(other)).toEqual(['early'])
})

/** Overwrites the inside of a database, not its head. */
function damage(path: string): void {
  const bytes = readFileSync(path)
  bytes.fill(0x5a, 8 * 4096, 12 * 4096)
  writeFileSync(path, bytes)
}

async function rewriteManifest(
  place: string,
  change: Partial<Record<keyof Manifest, unknown>>,
): Promise<void> {
  const path = join(place, 'manifest.json')
  const manifest = JSON.parse(readFileSync(path, 'utf8')) as Manifest
  writeFileSync(path, JSON.stringify({ ...manifest, ...change }))
}

test.each<[string, (place: string) => unknown, RegExp]>([
  [
    'that is not there',
    (place) => rmSync(place, { recursive: true }),
    /no directory that npm run backup has made/,
  ],
  [
    'without a manifest',
    (place) => rmSync(join(place, 'manifest.json')),
    /no directory that npm run backup has made/,
  ],
  [
    'whose manifest is no JSON',
    (place) => writeFileSync(join(place, 'manifest.json'), '{'),
    /manifest\.json cannot be used: it is not JSON/,
  ],
  ['of another program', (place) => rewriteManifest(place, { kind: 'x' }), /"kind" is wrong/],
  ['of another format', (place) => rewriteManifest(place, { format: 2 }), /"format" is wrong/],
  [
    'of a newer program',
    (place) => rewriteManifest(place, { schemaVersion: 999 }),
    /is of version 999, made by a newer program \(1\.2\.3\)/,
  ],
  ['without its database', (place) => rmSync(join(place, 'control.db')), /ENOENT/],
  [
    'whose database was changed',
    (place) => damage(join(place, 'control.db')),
    /is not the one that its manifest was written for/,
  ],
  [
    'whose database is damaged',
    async (place) => {
      const file = join(place, 'control.db')
      damage(file)
      await rewriteManifest(place, { sha256: await hashFile(file) })
    },
    /damaged/,
  ],
  [
    'whose database is of another version than it says',
    (place) => rewriteManifest(place, { schemaVersion: 1 }),
    /and its manifest says 1/,
  ],
])('a backup %s is refused, and everything is as before', async (_, spoil, message) => {
  const { place } = await backup(openDataDir(...Array.from({ length: 200 }, (_, at) => `sandbox-${at}`)))
  await spoil(place)
  const dataDir = openDataDir('here')
  const before = await hashFile(join(dataDir, 'control.db'))
  await expect(restore(place, dataDir)).rejects.toThrow(message)
  expect(await hashFile(join(dataDir, 'control.db'))).toBe(before)
  expect(readdirSync(dataDir).filter((name) => name !== 'control.lock')).toEqual(['control.db'])
})

test('while control runs nothing is restored', async () => {
  const dataDir = openDataDir('here')
  const { place } = await backup(dataDir)
  using lock = openLock(join(dataDir, 'control.lock'))
  expect(lock).toBeDefined()
  const { code, output } = await run('restore', '--data-dir', dataDir, '--from', place)
  expect([code, output]).toEqual([1, expect.stringContaining('Cannot restore while control runs')])
  expect(idsIn(dataDir)).toEqual(['here'])
})

test('without a place on a full or closed directory it says why', async () => {
  const dataDir = openDataDir('here')
  writeFileSync(join(dataDir, 'backups'), 'in the way')
  const { code, output } = await run('backup', '--data-dir', dataDir)
  expect([code, output]).toEqual([1, expect.stringContaining('Cannot make the backup')])
  expect(output).not.toContain('    at ')
})

test.each([
  [['backup', '--help'], 0, 'Usage: npm run backup'],
  [['restore', '--help'], 0, 'Usage: npm run restore'],
  [['restore'], 1, 'Name the backup: --from DIR'],
  [['backup', '--to'], 1, 'Flag --to needs a directory'],
  [['restore', '--from', '--help'], 1, 'Flag --from needs a directory'],
  [['backup', '--from', 'x'], 1, 'Unknown argument "--from"'],
  [['tidy'], 1, 'npm run backup'],
  [['backup', '--data-dir', '/no/such/directory'], 1, 'there is no control.db in it'],
])('%j exits with %i and says "%s"', async (args, expected, text) => {
  const { code, output } = await run(...args)
  expect([code, output]).toEqual([expected, expect.stringContaining(text)])
  expect(output).not.toContain('    at ')
})
