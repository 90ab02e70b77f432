import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { removeRunDir } from '../../lib/run-dir.ts'
import { runProgram } from '../../lib/run-program.ts'

function open(): string {
  const folder = mkdtempSync(join(tmpdir(), 'run-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const runDir = join(folder, 'abc')
  for (const name of ['mounts', 'roots', 'runc']) mkdirSync(join(runDir, name), { recursive: true })
  return runDir
}

/** As a program that is killed. */
const leaveSocket = async (path: string) => {
  const bind = `import socket; socket.socket(socket.AF_UNIX).bind("${path}")`
  expect((await runProgram('python3', ['-c', bind])).code).toBe(0)
}

test('the directory goes with sockets that nobody listens on, and with empty directories', async () => {
  const runDir = open()
  await leaveSocket(join(runDir, 'gateway-7.sock'))
  await removeRunDir({ runDir })
  expect(existsSync(runDir)).toBe(false)
  // Also when there is none.
  await removeRunDir({ runDir })
})

test('what holds a sandbox stays', async () => {
  const runDir = open()
  await leaveSocket(join(runDir, 'control.sock'))
  mkdirSync(join(runDir, 'runc/a-sandbox'))
  writeFileSync(join(runDir, 'note'), '')
  await removeRunDir({ runDir })
  expect(readdirSync(runDir).sort()).toEqual(['note', 'runc'])
})

test('while a program listens there nothing is removed', async () => {
  const runDir = open()
  const server = createServer()
  onTestFinished(() => void server.close())
  await new Promise<void>((resolve) => server.listen(join(runDir, 'control.sock'), resolve))
  await leaveSocket(join(runDir, 'feed.sock'))
  await removeRunDir({ runDir })
  expect(readdirSync(runDir).sort()).toEqual(['control.sock', 'feed.sock', 'mounts', 'roots', 'runc'])
})
