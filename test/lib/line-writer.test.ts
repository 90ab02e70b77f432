import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { createLineWriter } from '../../lib/line-writer.ts'
import { createLogger } from '../../lib/log.ts'

function open() {
  const written: string[] = []
  const lines = createLineWriter((text) => written.push(text))
  const log = createLogger({ program: 'test', level: 'debug', write: lines.write, now: () => new Date(0) })
  const texts = () => written.map((each) => each.replaceAll('1970-01-01T00:00:00.000Z ', ''))
  return { lines, log, texts }
}

test('createLineWriter() writes what comes in one turn together, at its end', async () => {
  const { log, texts } = open()
  log.info('one')
  log.debug('two')
  await Promise.resolve()
  expect(texts()).toEqual([])
  await nextTurn()
  expect(texts()).toEqual(['info test one\ndebug test two\n'])
  log.info('three')
  await nextTurn()
  expect(texts()).toEqual(['info test one\ndebug test two\n', 'info test three\n'])
})

test.each(['warn', 'error'] as const)(
  'createLineWriter() writes at %s at once, after what came before',
  async (level) => {
    const { log, texts } = open()
    log.info('before')
    log[level]('trouble')
    const all = [`info test before\n${level} test trouble\n`]
    expect(texts()).toEqual(all)
    await nextTurn()
    expect(texts()).toEqual(all)
  },
)

test('createLineWriter() keeps back no more than 64 KiB', () => {
  const { log, texts } = open()
  for (let line = 0; line < 20; line++) log.info('x'.repeat(10_000))
  expect(texts().length).toBe(2)
})

test('flush() writes what is kept back, once', async () => {
  const { lines, log, texts } = open()
  log.info('last')
  lines.flush()
  lines.flush()
  await nextTurn()
  expect(texts()).toEqual(['info test last\n'])
})
