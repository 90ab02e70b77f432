import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { type Pipe, PipeStock, takePipes } from '../../../execd/command/pipes.ts'
import { createFifoMaker, openLibc } from '../../../execd/libc.ts'
import { createSilentLogger } from '../../../lib/log.ts'
import { until } from '../daemon.ts'

const OWN = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }

function makeStock(makeFifo = createFifoMaker(openLibc())): { stock: () => PipeStock; dir: string } {
  const parent = mkdtempSync(join(tmpdir(), 'pipes-'))
  onTestFinished(() => rmSync(parent, { recursive: true, force: true }))
  const dir = join(parent, 'pipes')
  return { dir, stock: () => new PipeStock({ dir, makeFifo, log: createSilentLogger() }) }
}

async function take(stock: PipeStock): Promise<Pipe> {
  const pipe = await stock.take(OWN)
  if (!pipe) throw new Error('There was no pipe')
  return pipe
}

describe('PipeStock', () => {
  test('hands out pipes that can be opened by name, and uses them again once nobody holds them', async () => {
    const { stock, dir } = makeStock()
    const pipes = stock()
    const pipe = await take(pipes)
    execFileSync('sh', ['-c', `echo named > ${join(dir, pipe.name)}`])
    closeSync(pipe.writeFd)
    const text = await pipe.read.toArray()
    expect(String(Buffer.concat(text as Buffer[]))).toBe('named\n')
    const names = new Set<string>()
    for (let count = 0; count < 100; count++) {
      const next = await take(pipes)
      names.add(next.name)
      closeSync(next.writeFd)
      next.read.resume()
      await once(next.read, 'end')
    }
    expect(names.size).toBeLessThanOrEqual(32)
  })

  test('gives none to another user that one of them has had, who may still read from it', async () => {
    const { stock } = makeStock()
    const pipes = stock()
    const use = async (uid: number): Promise<string> => {
      const pipe = await pipes.take({ uid, gid: uid })
      if (!pipe) throw new Error('There was no pipe')
      closeSync(pipe.writeFd)
      pipe.read.resume()
      await once(pipe.read, 'end')
      return pipe.name
    }
    const names = new Map<string, Set<number>>()
    for (let count = 0; count < 100; count++) {
      const uid = [OWN.uid, 1000, 1001][count % 3] ?? OWN.uid
      const name = await use(uid)
      names.set(name, (names.get(name) ?? new Set()).add(uid))
    }
    // One of ours may go to someone else once; what comes back from there stays theirs.
    for (const uids of names.values())
      expect([...uids].filter((uid) => uid !== OWN.uid).length).toBeLessThan(2)
    expect(await use(1000)).not.toBe(await use(OWN.uid))
    expect(names.size).toBeLessThanOrEqual(32)
  })

  test('a pipe that somebody holds keeps what its last writer has written for the next life', async () => {
    const { stock, dir } = makeStock()
    const before = stock()
    before.prepare()
    const path = join(dir, 'p0')
    createFifoMaker(openLibc())(path)
    // As the child has it: nobody else reads.
    const writer = openSync(path, 'r+')
    const held = before.openToHold('p0') ?? -1
    writeSync(writer, 'last words\n')
    closeSync(writer)
    const [adopted] = takePipes(stock().adopt(), ['p0'])
    closeSync(held)
    expect(String(Buffer.concat((await adopted?.toArray()) as Buffer[]))).toBe('last words\n')
  })

  test('a pipe that is held is not used again, as the next life would take it for that of the first', async () => {
    const { stock } = makeStock()
    const pipes = stock()
    const pipe = await take(pipes)
    closeSync(pipes.openToHold(pipe.name) ?? -1)
    closeSync(pipe.writeFd)
    pipe.read.resume()
    await once(pipe.read, 'end')
    const next = await take(pipes)
    closeSync(next.writeFd)
    expect(next.name).not.toBe(pipe.name)
  })

  test('holds nothing that is no pipe of its own', async () => {
    const { stock, dir } = makeStock()
    const pipes = stock()
    pipes.prepare()
    writeFileSync(join(dir, 'p1'), '')
    symlinkSync('/dev/null', join(dir, 'p2'))
    expect(['p0', 'p1', 'p2'].map((name) => pipes.openToHold(name))).toEqual([
      undefined,
      undefined,
      undefined,
    ])
  })

  test('makes as many as are asked for at once', async () => {
    const { stock } = makeStock()
    const pipes = stock()
    const all = await Promise.all(Array.from({ length: 300 }, () => take(pipes)))
    expect(new Set(all.map(({ name }) => name)).size).toBe(300)
    for (const { read, writeFd } of all) {
      closeSync(writeFd)
      read.destroy()
    }
  })

  test('has none when none can be made, and some once they can be', async () => {
    const make = createFifoMaker(openLibc())
    let isFull = true
    const { stock } = makeStock((path) => {
      if (isFull) throw Object.assign(new Error('no space'), { code: 'ENOSPC' })
      make(path)
    })
    const pipes = stock()
    expect(pipes.take(OWN)).toBeUndefined()
    isFull = false
    const { read, writeFd } = await take(pipes)
    closeSync(writeFd)
    read.destroy()
  })

  test('has one although all that lay unused were removed, with their directory', async () => {
    const { stock, dir } = makeStock()
    const pipes = stock()
    const first = [await take(pipes), await take(pipes)]
    for (const { read, writeFd } of first) {
      closeSync(writeFd)
      read.resume()
      await once(read, 'end')
    }
    rmSync(dir, { recursive: true })
    const { name, read, writeFd } = await take(pipes)
    expect(readdirSync(dir)).toEqual([name])
    closeSync(writeFd)
    read.destroy()
  })
})

describe('PipeStock.adopt()', () => {
  test('takes over what is held, with what is in it, and removes the rest', async () => {
    const { stock, dir } = makeStock()
    mkdirSync(dir)
    const path = (name: string) => join(dir, name)
    execFileSync('mkfifo', [path('p3'), path('p4'), path('p7')])
    writeFileSync(path('p5'), 'a file')
    symlinkSync('/dev/zero', path('p6'))
    writeFileSync(path('other'), '')
    const held = spawn('sh', ['-c', `exec 1<> ${path('p3')}; echo waiting; read x; echo more`], {
      stdio: ['pipe', 'ignore', 'inherit'],
    })
    const quiet = spawn('sh', ['-c', `exec 1<> ${path('p4')}; read x`], {
      stdio: ['pipe', 'ignore', 'inherit'],
    })
    onTestFinished(() => {
      for (const child of [held, quiet]) child.kill('SIGKILL')
    })
    const output = (pid = 0) => readlinkSync(`/proc/${pid}/fd/1`)
    await until(
      async () => output(held.pid) === path('p3') && output(quiet.pid) === path('p4'),
      'both to hold their pipes',
    )
    const pipes = stock()
    const adopted = pipes.adopt()
    expect([...adopted.keys()].sort()).toEqual(['p3', 'p4'])
    expect(readdirSync(dir).sort()).toEqual(['p3', 'p4'])
    const [read] = takePipes(adopted, ['p3', 'p8'])
    expect([...adopted.keys()]).toEqual(['p4'])
    let text = ''
    read?.on('data', (bytes: Buffer) => {
      text += String(bytes)
    })
    await until(async () => text === 'waiting\n', 'what was in the pipe')
    held.stdin?.end('\n')
    await once(read ?? held, 'close')
    expect(text).toBe('waiting\nmore\n')
    // New ones have names of their own.
    const fresh = await take(pipes)
    expect(Number(fresh.name.slice(1))).toBeGreaterThan(7)
    closeSync(fresh.writeFd)
    fresh.read.destroy()
    adopted.get('p4')?.destroy()
    await until(
      async () => !readdirSync(dir).some((name) => name === 'p3' || name === 'p4'),
      'the old ones to go',
    )
  })

  test('of a directory that was never made finds nothing', async () => {
    expect(makeStock().stock().adopt().size).toBe(0)
  })
})
