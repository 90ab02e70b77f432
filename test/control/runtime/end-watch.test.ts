// Real processes stand for the first ones of sandboxes.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, onTestFinished, test } from 'vitest'
import { EndWatch } from '../../../control/runtime/local/end-watch.ts'
import type { RuntimeSandbox } from '../../../control/runtime/runtime.ts'
import { pathsOf, type SandboxRecord, startTimeOf } from '../../../control/runtime/sandbox-record.ts'

const root = mkdtempSync(join(tmpdir(), 'end-watch-'))
afterAll(() => rmSync(root, { recursive: true, force: true }))

/** Looks may come late on a machine that is busy. */
const eventually = <T>(look: () => T) => expect.poll(look)

async function start(program: string, args: string[]): Promise<ChildProcess & { pid: number }> {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'ignore'] })
  onTestFinished(() => void child.kill('SIGKILL'))
  await once(child, 'spawn')
  return child as ChildProcess & { pid: number }
}

async function end(child: ChildProcess): Promise<void> {
  child.kill('SIGKILL')
  await once(child, 'exit')
}

function openPlace() {
  const dataDir = mkdtempSync(join(root, 'data-'))
  mkdirSync(join(dataDir, 'sandboxes'))
  const dirs = { dataDir, runDir: dataDir }
  const folderOf = (id: string) => pathsOf(id, dirs).folder
  const write = (id: string, pid: number, change: Partial<SandboxRecord> = {}) => {
    const startTime = startTimeOf(pid)
    if (startTime === undefined) throw new Error(`Process ${pid} is gone`)
    mkdirSync(folderOf(id), { recursive: true })
    writeFileSync(
      pathsOf(id, dirs).record,
      JSON.stringify({
        id,
        address: '10.0.0.2',
        interface: 'x',
        init: { pid, startTime },
        complete: true,
        ...change,
      }),
    )
  }
  const asked: string[] = []
  const watch = new EndWatch({
    ...dirs,
    find: (id) => {
      asked.push(id)
      return readdirSync(join(dataDir, 'sandboxes')).includes(id)
        ? { id, state: 'exited', exitCode: 3 }
        : undefined
    },
  })
  return { watch, asked, write, removeFolder: (id: string) => rmSync(folderOf(id), { recursive: true }) }
}

function follow(watch: EndWatch): { ends: RuntimeSandbox[]; stop: () => Promise<void> } {
  const controller = new AbortController()
  const ends: RuntimeSandbox[] = []
  const following = (async () => {
    for await (const sandbox of watch.ends(controller.signal)) ends.push(sandbox)
  })()
  const stop = async () => {
    controller.abort()
    await following
  }
  onTestFinished(stop)
  return { ends, stop }
}

/** Which files of the first processes this one has open. */
const openFiles = () =>
  readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      const path = readlinkSync(`/proc/self/fd/${fd}`)
      return /^\/proc\/\d+\/statm$/.test(path) ? [path] : []
    } catch {
      return [] // the one by which they are listed
    }
  })

test('ends() tells once of what ended before and of what ends now, and of nothing that runs', async () => {
  const { watch, write } = openPlace()
  const [past, now, lasting] = [
    await start('sleep', ['600']),
    await start('sleep', ['600']),
    await start('sleep', ['600']),
  ]
  write('past', past.pid)
  await end(past)
  write('now', now.pid)
  write('lasting', lasting.pid)
  const { ends, stop } = follow(watch)
  await eventually(() => ends.map(({ id }) => id)).toEqual(['past'])
  await end(now)
  await eventually(() => ends.map(({ id }) => id)).toEqual(['past', 'now'])
  await end(lasting)
  await eventually(() => ends.map(({ id }) => id)).toEqual(['past', 'now', 'lasting'])
  await stop()
  expect(openFiles()).toEqual([])
  // Whoever asks anew hears of all of them.
  const again = follow(watch)
  await eventually(() => again.ends.map(({ id }) => id).sort()).toEqual(['lasting', 'now', 'past'])
})

test('ends() tells of a process that has ended and that nobody has waited for', async () => {
  const { watch, write } = openPlace()
  const parent = await start('sh', ['-c', 'sleep 600 & echo $!; exec sleep 600'])
  const [line] = await once(parent.stdout ?? parent, 'data')
  const pid = Number(String(line))
  write('zombie', pid)
  const { ends } = follow(watch)
  await eventually(openFiles).toEqual([`/proc/${pid}/statm`])
  process.kill(pid, 'SIGKILL')
  await eventually(() => ends.map(({ id }) => id)).toEqual(['zombie'])
  expect(openFiles()).toEqual([])
})

test('ends() tells of a sandbox whose directory somebody has removed, when it ends', async () => {
  const { watch, write, removeFolder } = openPlace()
  const child = await start('sleep', ['600'])
  write('bare', child.pid)
  const { ends } = follow(watch)
  await eventually(() => openFiles().length).toBe(1)
  removeFolder('bare')
  await end(child)
  await eventually(() => ends).toMatchObject([{ id: 'bare', state: 'exited', exitCode: 137 }])
})

test('ends() follows a sandbox only once it is complete, and asks for its state only when it ended', async () => {
  const { watch, write, asked } = openPlace()
  const [making, beacon] = [await start('sleep', ['600']), await start('sleep', ['600'])]
  write('making', making.pid, { complete: false })
  write('beacon', beacon.pid)
  const { ends } = follow(watch)
  await eventually(openFiles).toEqual([`/proc/${beacon.pid}/statm`])
  expect(asked).toEqual([])
  write('making', making.pid)
  await eventually(() => openFiles().length).toBe(2)
  await end(making)
  await eventually(() => ends.map(({ id }) => id)).toEqual(['making'])
  expect(asked).toEqual(['making'])
})

test('ends() says nothing of a sandbox that was removed, and follows another one of its id', async () => {
  const { watch, write, removeFolder } = openPlace()
  const [first, second] = [await start('sleep', ['600']), await start('sleep', ['600'])]
  write('twice', first.pid)
  const { ends } = follow(watch)
  await eventually(openFiles).toEqual([`/proc/${first.pid}/statm`])
  removeFolder('twice')
  watch.forget('twice')
  write('twice', second.pid)
  await end(first)
  await eventually(openFiles).toEqual([`/proc/${second.pid}/statm`])
  expect(ends).toEqual([])
  await end(second)
  await eventually(() => ends.map(({ id }) => id)).toEqual(['twice'])
})
