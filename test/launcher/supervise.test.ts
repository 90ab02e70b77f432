import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { Program } from '../../launcher/supervise.ts'
import { createLogger } from '../../lib/log.ts'

/** A program from `source`, the lines that its supervisor logs, and a wait for so many of its deaths. */
function supervise(source: string) {
  const folder = mkdtempSync(join(tmpdir(), 'supervised-'))
  const file = join(folder, 'main.mjs')
  writeFileSync(file, source)
  const lines: string[] = []
  const log = createLogger({ program: 'launcher', write: (line) => void lines.push(line) })
  const program = new Program({ name: 'it', file, args: [], env: { FOLDER: folder }, log })
  onTestFinished(async () => {
    await program.stop()
    rmSync(folder, { recursive: true, force: true })
  })
  const pauses = () => [...lines.join('').matchAll(/pauseMs=(\d+)/g)].map(([, pause]) => Number(pause))
  const untilDied = (times: number) => expect.poll(() => pauses().length).toBeGreaterThanOrEqual(times)
  return { program, pauses, untilDied }
}

test('a program that dies whenever it has become ready is back after a short pause each time', async () => {
  const { program, pauses, untilDied } = supervise(`process.send('ready', () => process.exit(1))`)
  await program.start(AbortSignal.timeout(20_000))
  await untilDied(4)
  expect(pauses().slice(0, 4)).toEqual([200, 400, 500, 500])
})

test('one that no longer becomes ready is tried with pauses that grow', async () => {
  const { program, pauses, untilDied } = supervise(
    `import { existsSync, writeFileSync } from 'node:fs'
     const mark = process.env.FOLDER + '/mark'
     if (existsSync(mark)) process.exit(1)
     writeFileSync(mark, '')
     process.send('ready', () => process.exit(1))`,
  )
  await program.start(AbortSignal.timeout(20_000))
  await untilDied(4)
  expect(pauses().slice(0, 4)).toEqual([200, 400, 800, 1600])
})
