// Real programs on a terminal, seen through a terminal emulator as a person would.

import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, onTestFinished, type TestContext, test } from 'vitest'
import { type Daemon, startDaemon, until } from '../daemon.ts'
import { createPty, PtyClient } from './pty-client.ts'

let execd: Daemon
beforeAll(async () => {
  execd = await startDaemon()
})
afterAll(() => execd[Symbol.asyncDispose]())

const run = async (body: Record<string, unknown>, size = { cols: 80, rows: 24 }) => {
  const id = await createPty(execd, { ...size, ...body })
  return { id, client: await PtyClient.connect(execd, id, '', size) }
}

/** Skips a test, and says so, on a machine without the program. */
function needs(context: TestContext, name: string): void {
  const isThere = ['/usr/bin', '/bin'].some((dir) => existsSync(join(dir, name)))
  if (!isThere) context.skip(`${name} is not installed`)
}

test('vim edits a file, and paints its screen for who comes later', async (context) => {
  needs(context, 'vim')
  const file = join(execd.workdir, 'letter.txt')
  const { id, client } = await run({ argv: ['vim', '-N', '-u', 'NONE', '-c', 'set showmode', file] })
  await client.shows(/~\n[\s\S]*letter\.txt/)
  client.type('iGrüße, 世界\r')
  client.type('second line')
  await client.shows(/^Grüße, 世界\nsecond line\n~/)
  client.resize(100, 30)
  await client.shows(/-- INSERT --/)

  const later = await PtyClient.connect(execd, id, '?takeover=1', { cols: 100, rows: 30 })
  expect(await later.shows(/-- INSERT --/)).toMatch(/^Grüße, 世界\nsecond line\n~/)
  later.type('\x1b:wq\r')
  expect(await later.text('exit')).toEqual({ type: 'exit', exit_code: 0 })
  expect(readFileSync(file, 'utf8')).toBe('Grüße, 世界\nsecond line\n')
})

test('top shows its header, and ends at q', async (context) => {
  needs(context, 'top')
  const { client } = await run({ argv: ['top', '-d', '60'] }, { cols: 100, rows: 30 })
  await client.shows(/^top - [\s\S]*Tasks:[\s\S]*PID USER/)
  client.type('q')
  expect(await client.text('exit')).toEqual({ type: 'exit', exit_code: 0 })
})

test('tmux splits its window, is told a new size, and detaches', async (context) => {
  needs(context, 'tmux')
  const socket = join(execd.workdir, 'tmux')
  mkdirSync(execd.workdir, { recursive: true })
  onTestFinished(async () => {
    await execd.run({ command: `tmux -S ${socket} kill-server` })
  })
  const { client } = await run({ command: `tmux -S ${socket} -f /dev/null new-session -s work sh` })
  await client.shows(/\[work\]/)
  client.type('\x02%')
  await client.shows(/│/)
  client.type('echo r$((6*7))ight\r')
  await client.shows(/│.*r42ight/)
  client.resize(120, 40)
  await until(async () => {
    const lines = (await client.screen()).split('\n')
    return lines[39]?.includes('[work]') && lines[0]?.indexOf('│') === 60
  }, 'the window in its new size')
  client.type('\x02d')
  await client.shows(/\[detached/)
  expect(await client.text('exit')).toEqual({ type: 'exit', exit_code: 0 })

  // Its server lives on, as that is what it is for.
  const { client: again } = await run({ command: `tmux -S ${socket} attach` }, { cols: 120, rows: 40 })
  await again.shows(/│.*r42ight/)
  await execd.run({ command: `tmux -S ${socket} kill-server` })
  await again.text('exit')
})

test('Python computes, and Ctrl-C interrupts it', async (context) => {
  needs(context, 'python3')
  const { client } = await run({ argv: ['python3', '-q'], envs: { PYTHON_BASIC_REPL: '1' } })
  await client.shows(/>>>$/m)
  client.type('sum(range(10)) * 2\r')
  await client.shows(/^90$/m)
  client.type('import time; time.sleep(1000)\r')
  await client.see(/1000\)\r\n/)
  client.type('\x03')
  await client.shows(/KeyboardInterrupt[\s\S]*>>>$/m)
  client.type('exit(3)\r')
  expect(await client.text('exit')).toEqual({ type: 'exit', exit_code: 3 })
})

const CURSES = `
import curses
def main(screen):
    screen.keypad(True)
    # ncurses sees a signal that came just before it waited for a key only at the next one.
    screen.timeout(50)
    while True:
        rows, cols = screen.getmaxyx()
        screen.erase()
        screen.border()
        screen.addstr(1, 1, f"{cols} x {rows}")
        screen.refresh()
        if screen.getch() == ord("q"):
            return
curses.wrapper(main)
`

test('a curses program draws to the edges, and again after a resize', async (context) => {
  needs(context, 'python3')
  const { client } = await run({ argv: ['python3', '-c', CURSES] }, { cols: 60, rows: 15 })
  await client.shows(/60 x 15/)
  for (const [cols, rows] of [
    [100, 40],
    [20, 6],
    [132, 50],
  ] as const) {
    client.resize(cols, rows)
    await until(async () => {
      const lines = (await client.screen()).split('\n')
      const corners = [lines[0]?.[0], lines[0]?.[cols - 1], lines[rows - 1]?.[0]]
      return (
        lines[1]?.includes(`${cols} x ${rows}`) &&
        corners.every((corner) => corner !== undefined && corner !== ' ')
      )
    }, `a frame of ${cols} x ${rows}`)
  }
  client.type('q')
  expect(await client.text('exit')).toEqual({ type: 'exit', exit_code: 0 })
  // The emulator is back on its first screen.
  expect(await client.screen()).not.toContain('132 x 50')
})

test('bash edits a line with keys, completes names, and keeps its jobs', async () => {
  const { client } = await run({})
  mkdirSync(join(execd.workdir, 'a-rather-long-name'), { recursive: true })
  await client.shows(/#$/m)
  client.type('echo wrld\x1b[D\x1b[D\x1b[Do\r')
  await client.shows(/^world$/m)
  client.type(`cd a-rath\t && pwd\r`)
  await client.shows(/a-rather-long-name\n/)
  client.type('sleep 1000\r')
  await client.see(/sleep 1000\r\n/)
  await until(async () => {
    client.type('\x1a')
    return (await client.screen()).includes('Stopped')
  }, 'the stopped job')
  client.type('kill %1; echo back at $((1+1))\r')
  await client.shows(/^back at 2$/m)
})
