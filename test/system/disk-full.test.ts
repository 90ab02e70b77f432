// Control on a disk that is really full: it goes on, says so, reads, leaves nothing half made, and is well again once there is
// room, without anybody's help. Needs root, because the small disk is mounted for it.

import { type ChildProcess, execFileSync, fork } from 'node:child_process'
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test, vi } from 'vitest'
import { takeBackup } from '../../control/backup/take-backup.ts'
import { Store } from '../../control/store/sqlite.ts'
import { systemCodeOf } from '../../lib/errors.ts'
import { MIGRATIONS, MINIMAL } from '../support/control-app.ts'

const CONTROL = join(import.meta.dirname, '../fixtures/control-with-files.ts')
const DISK_BYTES = 8 << 20

/** A disk of its own, of a few megabytes. */
function mountDisk(): string {
  const disk = mkdtempSync(join(tmpdir(), 'disk-full-'))
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK_BYTES},mode=700`, 'tmpfs', disk])
  onTestFinished(() => {
    execFileSync('umount', ['--lazy', disk])
    rmSync(disk, { recursive: true, force: true })
  })
  return disk
}

/** Takes all room that there is. */
function fillDisk(disk: string): string {
  const path = join(disk, 'filler')
  const file = openSync(path, 'a')
  try {
    for (let size = 1 << 20; size >= 1; size = Math.floor(size / 2)) {
      try {
        for (;;) writeSync(file, Buffer.alloc(size))
      } catch (error) {
        expect(systemCodeOf(error)).toBe('ENOSPC')
      }
    }
  } finally {
    closeSync(file)
  }
  return path
}

async function start(
  dataDir: string,
): Promise<{ child: ChildProcess; url: string; stop: () => Promise<number | null> }> {
  const child = fork(CONTROL, [dataDir, '2'], { stdio: ['ignore', 'ignore', 'ignore', 'ipc'] })
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve))
  onTestFinished(() => void child.kill('SIGKILL'))
  const port = await new Promise<number>((resolve, reject) => {
    child.once('message', (message) => resolve((message as { port: number }).port))
    child.once('exit', (code) => reject(new Error(`Control ended with ${code}`)))
  })
  return {
    child,
    url: `http://127.0.0.1:${port}/v1/sandboxes`,
    stop: () => {
      child.kill('SIGTERM')
      return ended
    },
  }
}

const create = (url: string) =>
  fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ ...MINIMAL, timeout: 3600 }),
  })
const list = async (url: string) => {
  const response = await fetch(`${url}?pageSize=200`)
  expect(response.status).toBe(200)
  const { items } = (await response.json()) as { items: { id: string; status: { state: string } }[] }
  return new Map(items.map(({ id, status }) => [id, status.state]))
}
/** What the runtime has, half made ones too. */
const existing = (dataDir: string) =>
  new Map(
    readdirSync(join(dataDir, 'sandboxes')).map((id) => {
      const text = readFileSync(join(dataDir, 'sandboxes', id), 'utf8')
      return [id, text === '' ? 'empty' : (JSON.parse(text) as { state: string }).state]
    }),
  )

test('goes on without a crash, refuses with 503, reads, and recovers by itself', async () => {
  const disk = mountDisk()
  const control = await start(disk)
  const made = new Set<string>()
  for (let at = 0; at < 5; at++) made.add(((await (await create(control.url)).json()) as { id: string }).id)
  const filler = fillDisk(disk)

  // What the log's file still has room for goes in; then no more does.
  let refused: Response | undefined
  for (let at = 0; at < 2000 && !refused; at++) {
    const response = await create(control.url)
    if (response.status === 202) made.add(((await response.json()) as { id: string }).id)
    else refused = response
  }
  expect(refused?.status).toBe(503)
  expect(await refused?.json()).toMatchObject({ code: 'GENERAL::NO_SPACE' })
  expect(Number(refused?.headers.get('retry-after'))).toBeGreaterThan(0)
  for (let at = 0; at < 20; at++) expect((await create(control.url)).status).toBe(503)
  const [first = ''] = made
  const read = await fetch(`${control.url}/${first}`)
  expect([read.status, ((await read.json()) as { status: { state: string } }).status.state]).toEqual([
    200,
    'Running',
  ])
  expect(new Set((await list(control.url)).keys())).toEqual(made)

  truncateSync(filler, 0)
  const again = await create(control.url)
  expect(again.status).toBe(202)
  made.add(((await again.json()) as { id: string }).id)
  // Whatever could not be cleared away on the full disk is gone now, by itself.
  await vi.waitUntil(
    () => [...existing(disk)].every(([id, state]) => made.has(id) && state === 'running'),
    30_000,
  )
  expect(await list(control.url)).toEqual(new Map([...made].map((id) => [id, 'Running'])))
  expect(new Set(existing(disk).keys())).toEqual(made)
  expect((await fetch(`${control.url}/${first}`, { method: 'DELETE' })).status).toBe(204)
  expect(control.child.exitCode).toBeNull()
  expect(await control.stop()).toBe(0)
  const store = new Store({ path: join(disk, 'control.db'), migrationsDir: MIGRATIONS })
  onTestFinished(() => store.close())
  expect(store.database.raw.pragma('integrity_check', { simple: true })).toBe('ok')
}, 120_000)

test('a start says what is missing, and with room for some pages it reads', async () => {
  const disk = mountDisk()
  const first = await start(disk)
  const { id } = (await (await create(first.url)).json()) as { id: string }
  expect(await first.stop()).toBe(0)
  const filler = fillDisk(disk)
  const path = join(disk, 'control.db')
  expect(() => new Store({ path, migrationsDir: MIGRATIONS })).toThrow(
    `Cannot open the database "${path}", as there is no space left on its disk: make room`,
  )
  // For the memory that readers and writers share, and the sockets.
  truncateSync(filler, statSync(filler).size - 64 * 1024)
  const second = await start(disk)
  expect(await list(second.url)).toEqual(new Map([[id, 'Running']]))
  truncateSync(filler, 0)
  expect((await create(second.url)).status).toBe(202)
  expect(await second.stop()).toBe(0)
}, 60_000)

test('a backup onto a full disk says so, and leaves nothing', async () => {
  const disk = mountDisk()
  const dataDir = mkdtempSync(join(tmpdir(), 'disk-full-data-'))
  onTestFinished(() => rmSync(dataDir, { recursive: true, force: true }))
  new Store({ path: join(dataDir, 'control.db'), migrationsDir: MIGRATIONS }).close()
  const filler = fillDisk(disk)
  // Room for the directory and the beginning of the file.
  truncateSync(filler, statSync(filler).size - 3 * 4096)
  const to = join(disk, 'backup')
  await expect(takeBackup({ dataDir, to, programVersion: '1', now: 1 })).rejects.toThrow(
    /Cannot back up .*(full|ENOSPC)/,
  )
  expect(existsSync(to)).toBe(false)
})
