import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { describe, expect, onTestFinished, test } from 'vitest'
import { createProcessStatus } from '../../../execd/command/process-status.ts'
import { readProcess } from '../../../execd/command/process-table.ts'
import { adoptProcess } from '../../../execd/command/restore.ts'
import { openLibc } from '../../../execd/libc.ts'
import { keepsEnds } from '../../support/kernel.ts'

const status = createProcessStatus(openLibc())

/** A shell that waits for a line and then does what it was given. */
function begin(line: string) {
  const child = spawn('sh', ['-c', `read -r _; ${line}`], { stdio: ['pipe', 'ignore', 'ignore'] })
  onTestFinished(() => void child.kill('SIGKILL'))
  const { pid = 0 } = child
  const { startTime = -1 } = readProcess(pid) ?? {}
  const end = async () => {
    child.stdin.end('\n')
    await once(child, 'exit')
  }
  return { process: { pid, startTime, pipes: [] }, end }
}

function open(process: { pid: number; startTime: number }): number {
  const fd = status.open(process)
  if (fd === undefined) throw new Error(`Cannot open process ${process.pid}`)
  onTestFinished(() => closeSync(fd))
  return fd
}

describe('the status of a process', () => {
  test.each([
    ['exit 0', { exitCode: 0 }],
    ['exit 200', { exitCode: 200 }],
    ['kill -KILL $$', { exitCode: -1, signal: 'SIGKILL' }],
    // One that writes a core says so in the same number.
    ['kill -ABRT $$', { exitCode: -1, signal: 'SIGABRT' }],
  ])('is read from its descriptor once it was reaped: %s', async (line, end) => {
    const begun = begin(line)
    const fd = open(begun.process)
    expect(status.read(fd)).toBeUndefined()
    await begun.end()
    expect(status.read(fd)).toEqual(keepsEnds() ? end : undefined)
  })

  test('is not asked of another process of that number, nor of one that has ended', async () => {
    const begun = begin('exit 0')
    expect(status.open({ ...begun.process, startTime: begun.process.startTime - 1 })).toBeUndefined()
    await begun.end()
    expect(status.open(begun.process)).toBeUndefined()
  })

  test('is not found in what is no process', () => {
    const fd = openSync('/dev/null', 'r')
    onTestFinished(() => closeSync(fd))
    expect(status.read(fd)).toBeUndefined()
  })

  test('is read from a descriptor that another process holds, also after the end', async () => {
    const begun = begin('exit 6')
    const fd = open(begun.process)
    const holder = spawn('sleep', ['1000'], { stdio: ['ignore', 'ignore', 'ignore', fd] })
    onTestFinished(() => void holder.kill('SIGKILL'))
    const { pid = 0 } = holder
    const { startTime = -1 } = readProcess(pid) ?? {}
    await begun.end()
    const shared = status.share({ pid, startTime }, 3) ?? -1
    expect(status.read(shared)).toEqual(keepsEnds() ? { exitCode: 6 } : undefined)
    if (shared >= 0) closeSync(shared)
    expect(status.share({ pid, startTime }, 9999)).toBeUndefined()
    expect(status.share({ pid, startTime: startTime - 1 }, 3)).toBeUndefined()
  })
})

describe('adoptProcess()', () => {
  test('tells the end that it can be told, and else that nobody saw it', async () => {
    const begun = begin('exit 9')
    const fd = open(begun.process)
    const seen = adoptProcess(begun.process, [], () => status.read(fd))
    const unseen = adoptProcess(begun.process, [])
    await begun.end()
    const nobody = { exitCode: -1, isUnseen: true }
    expect(await Promise.all([seen.ended, unseen.ended])).toEqual([
      keepsEnds() ? { exitCode: 9 } : nobody,
      nobody,
    ])
    // One that had ended before it was adopted.
    expect(await adoptProcess(begun.process, []).ended).toEqual(nobody)
  })
})
