import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { openState } from '../../execd/state.ts'
import { createSilentLogger } from '../../lib/log.ts'

const log = createSilentLogger()

function openFile(): { path: string; descriptor: string } {
  const dir = mkdtempSync(join(tmpdir(), 'state-'))
  const path = join(dir, 'state')
  const fd = openSync(path, 'w+')
  onTestFinished(() => {
    closeSync(fd)
    rmSync(dir, { recursive: true })
  })
  return { path, descriptor: String(fd) }
}

describe('openState()', () => {
  test('gives a later life what an earlier one has noted, the latest of each', () => {
    const { descriptor } = openFile()
    const first = openState(descriptor, log)
    expect([first.before, first.life.number]).toEqual([{}, 1])
    first.note({ boot: 'text', port: 1 })
    first.note({ entrypoint: {} })
    first.note({ port: 2, entrypoint: { process: { pid: 5, startTime: 6, pipes: ['p0'] } } })
    const second = openState(descriptor, log)
    expect(second.before).toMatchObject({
      boot: 'text',
      port: 2,
      entrypoint: { process: { pid: 5, startTime: 6, pipes: ['p0'] } },
    })
    expect(second.life).toEqual({ id: first.life.id, number: 2 })
    expect(openState(descriptor, log).life.number).toBe(3)
  })

  test('takes no harm from a line that was cut short', () => {
    const { path, descriptor } = openFile()
    openState(descriptor, log).note({ boot: 'text' })
    writeFileSync(path, `${readFileSync(path, 'utf8')}{"port":12`)
    const next = openState(descriptor, log)
    expect(next.before).not.toHaveProperty('port')
    next.note({ port: 3 })
    expect(openState(descriptor, log).before).toMatchObject({ boot: 'text', port: 3 })
  })

  test('tells when one short life follows the other', () => {
    const { descriptor } = openFile()
    const lives = Array.from({ length: 5 }, () => openState(descriptor, log))
    expect(lives.map(({ isRestless }) => isRestless)).toEqual([false, false, false, true, true])
  })

  test.each([undefined, '', 'x', '-1', '9999'])('keeps nothing without a descriptor: %j', (descriptor) => {
    const state = openState(descriptor, log)
    state.note({ boot: 'text' })
    expect([state.before, state.life.number, state.isRestless]).toEqual([{}, 1, false])
    // No two of them are the same execd.
    expect(openState(descriptor, log).life.id).not.toBe(state.life.id)
  })

  test('goes on without a file that can be written', () => {
    const fd = openSync('/dev/full', 'r+')
    onTestFinished(() => closeSync(fd))
    expect(openState(String(fd), log).life.number).toBe(1)
  })
})
