// The program as it is started: by Node and by Deno.

import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { instanceOf } from '../../lib/instance.ts'
import { freePort } from '../support/edge.ts'
import { FakeControl } from './fake-control.ts'
import { startAnswering } from './support.ts'

const ROOT = join(import.meta.dirname, '../..')
const MAIN = join(ROOT, 'gateway/main.ts')
const COMMANDS = {
  node: [process.execPath, MAIN],
  deno: [join(ROOT, 'node_modules/.bin/deno'), 'run', '-A', MAIN],
} as const

type Program = {
  child: ChildProcess
  output: () => string
  until(pattern: RegExp): Promise<void>
  ended: Promise<number | null>
}

function start(by: keyof typeof COMMANDS, args: string[]): Program {
  const [command, ...rest] = COMMANDS[by]
  const child = spawn(command, [...rest, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env.PATH ?? '', HOME: '/nonexistent' },
  })
  let text = ''
  let isOver = false
  const waiters = new Set<() => void>()
  const wake = () => {
    for (const each of waiters) each()
  }
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk
      wake()
    })
  const ended = new Promise<number | null>((resolve) =>
    child.on('close', (code) => {
      isOver = true
      resolve(code)
      wake()
    }),
  )
  onTestFinished(async () => {
    child.kill('SIGKILL')
    await ended
  })
  return {
    child,
    ended,
    output: () => text,
    until: async (pattern) => {
      while (!pattern.test(text)) {
        if (isOver) throw new Error(`It ended before ${pattern}: ${text}`)
        await new Promise<void>((resolve) => waiters.add(resolve))
      }
    },
  }
}

function makeDataDir() {
  const dataDir = mkdtempSync(join(tmpdir(), 'gateway-'))
  writeFileSync(join(dataDir, 'edge.toml'), '')
  const instance = instanceOf(dataDir)
  mkdirSync(instance.runDir, { recursive: true, mode: 0o700 })
  onTestFinished(() => {
    rmSync(instance.runDir, { recursive: true, force: true })
    rmSync(dataDir, { recursive: true, force: true })
  })
  return { instance, args: ['--data-dir', dataDir, '--config', join(dataDir, 'edge.toml')] }
}

describe.each(['node', 'deno'] as const)('started by %s', (by) => {
  test('it is ready when the routes are known, serves, and stops when asked to', async () => {
    const { instance, args } = makeDataDir()
    const port = await freePort()
    const upstream = await startAnswering('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
    const program = start(by, [...args, '--port', String(port)])
    await program.until(/broke off/)
    expect(program.output()).not.toContain('ready')
    await using control = new FakeControl(instance)
    control.put({
      id: 'a',
      state: 'running',
      generation: 1,
      ports: { 8000: { host: '127.0.0.1', port: upstream.port } },
    })
    await control.start()
    await program.until(/ready .*routes=1/)
    const url = `http://127.0.0.1:${port}`
    expect(await (await fetch(`${url}/health`)).text()).toBe('control')
    expect(await (await fetch(`${url}/sandboxes/a/proxy/8000/`)).text()).toBe('ok')
    const posted = await fetch(`${url}/v1/x`, { method: 'POST', body: 'y'.repeat(1_000_000) })
    expect(posted.status).toBe(200)
    await posted.text()
    program.child.kill('SIGTERM')
    expect(await program.ended).toBe(0)
  })
})

test('a port in use is said in one sentence', async () => {
  const { args } = makeDataDir()
  const server = createServer()
  const port = await new Promise<number>((resolve) =>
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      resolve(typeof address === 'object' && address ? address.port : 0)
    }),
  )
  onTestFinished(() => void server.close())
  const program = start('node', [...args, '--port', String(port)])
  expect(await program.ended).toBe(1)
  expect(program.output()).toBe(
    `Port ${port} on 127.0.0.1 is in use: stop what uses it, or choose another with --port\n`,
  )
})

test.each([
  [['--help'], 0, /--data-dir PATH/],
  [['--nonsense'], 1, /Unknown argument "--nonsense"/],
  [['--host', '0.0.0.0'], 1, /without an API key/],
  [['--host', '192.0.2.1'], 1, /without an API key/],
])('%j ends with %i', async (flags, code, said) => {
  const program = start('node', flags)
  expect(await program.ended).toBe(code)
  expect(program.output()).toMatch(said)
})
