// The queue of renew intents, with a Redis of Debian between a gateway's end and control's.

import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { runRenewIntents } from '../../control/renew-intents.ts'
import { RenewIntents } from '../../gateway/life/renew-intents.ts'
import type { ActivityReport } from '../../lib/api/routes-feed.ts'
import { createLogger, createSilentLogger } from '../../lib/log.ts'
import { formatIntent, openRenewQueue, parseIntent } from '../../lib/renew-queue.ts'
import { freePort } from '../support/edge.ts'
import { waitUntil } from '../support/wait-for.ts'

const SERVER = '/usr/bin/redis-server'
const KEY = 'opensandbox:renew:intent'
const NOW = Date.UTC(2026, 0, 1)

describe('an intent', () => {
  test('is written as the contract has it', () => {
    expect(JSON.parse(formatIntent('a', NOW, 8000))).toEqual({
      sandbox_id: 'a',
      observed_at: '2026-01-01T00:00:00.000Z',
      port: 8000,
    })
    expect(formatIntent('a', NOW)).not.toContain('port')
  })

  test.each([
    ['2026-01-01T00:00:00Z', NOW],
    ['2026-01-01T00:00:00.5Z', NOW + 500],
    ['2026-01-01T00:00:00.123456789Z', NOW + 123],
    ['2026-01-01T01:00:00+01:00', NOW],
    ['2026-01-01T00:00:00', NOW],
    ['2026-01-01 00:00:00.25', NOW + 250],
  ])('of %s is read, whatever else it says', (observed, at) => {
    const intent = { sandbox_id: ' a ', observed_at: observed, port: 1, namespace: 'n', request_uri: '/' }
    expect(parseIntent(JSON.stringify(intent))).toEqual({ id: 'a', at })
  })

  test.each([
    '',
    'x',
    '[]',
    'null',
    '{}',
    '{"sandbox_id":"a"}',
    '{"sandbox_id":" ","observed_at":"2026-01-01T00:00:00Z"}',
    '{"sandbox_id":5,"observed_at":"2026-01-01T00:00:00Z"}',
    '{"sandbox_id":"a","observed_at":"yesterday"}',
    '{"sandbox_id":"a","observed_at":"2026-13-01T00:00:00Z"}',
    '{"sandbox_id":"a","observed_at":1767225600}',
  ])('%s is none', (text) => {
    expect(parseIntent(text)).toBeUndefined()
  })
})

describe('what a gateway tells', () => {
  function open({ minIntervalMs = 60_000 } = {}) {
    let now = NOW
    let isAway = false
    const pushed: string[][] = []
    const intents = new RenewIntents({
      queue: {
        async push(texts) {
          if (isAway) throw new Error('away')
          pushed.push([...texts])
        },
      },
      minIntervalMs,
      maxLength: 0,
      log: createSilentLogger(),
      now: () => now,
    })
    const idsOf = () => pushed.splice(0).flatMap((texts) => texts.map((text) => parseIntent(text)?.id))
    return {
      intents,
      idsOf,
      pass(ms: number) {
        now += ms
      },
      setAway(away: boolean) {
        isAway = away
      },
    }
  }

  test('each sandbox once in an interval, in one go', async () => {
    const { intents, idsOf, pass } = open()
    for (const id of ['a', 'b', 'a']) intents.note(id)
    await intents.tell()
    expect(idsOf()).toEqual(['a', 'b'])
    pass(59_999)
    intents.note('a')
    await intents.tell()
    expect(idsOf()).toEqual([])
    pass(1)
    intents.note('a')
    await intents.tell()
    expect(idsOf()).toEqual(['a'])
  })

  test('G15: what could not be told is told later, and costs no interval', async () => {
    const { intents, idsOf, setAway } = open()
    setAway(true)
    intents.note('a')
    await intents.tell()
    setAway(false)
    intents.note('a')
    await intents.tell()
    expect(idsOf()).toEqual(['a'])
  })

  test('of as many as may be', async () => {
    const { intents, idsOf } = open()
    for (let at = 0; at < 9000; at++) intents.note(`s${at}`)
    await intents.tell()
    expect(idsOf()).toHaveLength(8192)
  })
})

describe.skipIf(!existsSync(SERVER))(`with ${SERVER}${existsSync(SERVER) ? '' : ' (not installed)'}`, () => {
  async function startRedis(port: number): Promise<ChildProcess> {
    const folder = mkdtempSync(join(tmpdir(), 'redis-'))
    const args = [
      '--port',
      String(port),
      '--bind',
      '127.0.0.1',
      '--dir',
      folder,
      '--save',
      '',
      '--requirepass',
      'word',
    ]
    const server = spawn(SERVER, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    const ended = new Promise((resolve) => server.once('close', resolve))
    onTestFinished(async () => {
      server.kill('SIGKILL')
      await ended
      rmSync(folder, { recursive: true })
    })
    await new Promise<void>((resolve) =>
      server.stdout?.on('data', (text) => void (/Ready to accept/.test(String(text)) && resolve())),
    )
    return server
  }

  test('G15: traffic told by one end is what control hears at the other, also after Redis was away', async () => {
    const port = await freePort()
    const lines: string[] = []
    const log = createLogger({ program: 'test', write: (line) => void lines.push(line) })
    const connect = async () => {
      const queue = await openRenewQueue({ dsn: `redis://:word@127.0.0.1:${port}/1`, key: KEY, log })
      onTestFinished(() => queue.close())
      return queue
    }
    // Nobody is there yet, which stops nobody.
    const [gatewayEnd, controlEnd] = [await connect(), await connect()]
    const intents = new RenewIntents({ queue: gatewayEnd, minIntervalMs: 0, maxLength: 3, log })
    intents.note('first', 8000)
    await intents.tell()
    const heard: ActivityReport[] = []
    const stop = new AbortController()
    const running = runRenewIntents({
      queue: controlEnd,
      activity: { record: (reports) => void heard.push(...reports) },
      now: Date.now,
      log,
      signal: stop.signal,
      pauseMs: 20,
    })
    const redis = await startRedis(port)
    const toldOf = async (id: string) => {
      await waitUntil(async () => {
        await intents.tell()
        return heard.some((report) => report.id === id)
      })
    }
    await toldOf('first')
    expect(heard[0]?.ageMs).toBeLessThan(60_000)

    // What is old, and what is none, is passed over.
    await gatewayEnd.push([formatIntent('old', Date.now() - 301_000), 'nonsense'], 0)
    intents.note('second')
    await toldOf('second')
    expect(heard.map(({ id }) => id)).toEqual(['first', 'second'])

    redis.kill('SIGKILL')
    await new Promise((resolve) => redis.once('close', resolve))
    intents.note('third')
    await intents.tell()
    await startRedis(port)
    await toldOf('third')
    stop.abort()
    controlEnd.close()
    await running
    expect(lines.join('')).not.toContain('word')

    // The oldest are forgotten beyond the bound.
    for (const id of ['a', 'b', 'c', 'd', 'e']) intents.note(id)
    await intents.tell()
    const left = await connect()
    const ids: (string | undefined)[] = []
    await waitUntil(async () => {
      try {
        for (let text = await left.pop(1); text !== undefined; text = await left.pop(1))
          ids.push(parseIntent(text)?.id)
        return true
      } catch {
        return false // it is not connected yet
      }
    })
    expect(ids).toEqual(['c', 'd', 'e'])
  })
})
