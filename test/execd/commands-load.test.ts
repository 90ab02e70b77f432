// Commands in numbers, with much output, with clients that are slow or gone, and without a place on the disk.

import { execFileSync } from 'node:child_process'
import {
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { type ClientRequest, type IncomingMessage, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import type { CommandStatus } from '../../lib/api/execd.ts'
import { startFairClock } from '../support/fair-time.ts'
import { type Daemon, type Event, idOf, outputOf, parseEvents, startDaemon, until } from './daemon.ts'

let execd: Daemon
beforeAll(async () => {
  execd = await startDaemon()
})
afterAll(() => execd[Symbol.asyncDispose]())

const status = async (id: string, of = execd) =>
  (await (await of.call(`/command/status/${id}`)).json()) as CommandStatus
const ended = (id: string, of = execd) =>
  until(async () => {
    const now = await status(id, of)
    return !now.running && now
  }, 'its end')
const residentKb = () =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${execd.pid()}/status`, 'utf8'))?.[1] ?? 0)

/** Sends a command and leaves reading to the caller. */
function send(body: object): { sent: ClientRequest; answer: Promise<IncomingMessage> } {
  const headers = { 'X-EXECD-ACCESS-TOKEN': 'secret-token' }
  const sent = request(`${execd.url}/command`, { method: 'POST', headers })
  sent.on('error', () => {})
  const answer = new Promise<IncomingMessage>((resolve) => sent.once('response', resolve))
  sent.end(JSON.stringify(body))
  return { sent, answer }
}

describe('many commands', () => {
  test('S1: 500 at once all have their own output and end, and execd is not full of them afterwards', async () => {
    const pipes = () =>
      readdirSync(`/proc/${execd.pid()}/fd`).filter((fd) => {
        try {
          return readlinkSync(`/proc/${execd.pid()}/fd/${fd}`).startsWith(execd.dir)
        } catch {
          return false // closed meanwhile
        }
      }).length
    await execd.run({ command: 'true' })
    const before = pipes()
    const all = await Promise.all(
      Array.from({ length: 500 }, (_, index) =>
        execd.run({ command: `echo ${index}; echo e${index} >&2; sleep 1; exit ${index % 7}` }),
      ),
    )
    for (const [index, events] of all.entries()) {
      expect([outputOf(events), outputOf(events, 'stderr')]).toEqual([`${index}\n`, `e${index}\n`])
      const end = events.at(-1)
      expect(end?.type === 'execution_complete' ? 0 : Number(end?.error?.evalue)).toBe(index % 7)
    }
    await until(async () => pipes() <= before, 'its pipes and files to be closed')
  })

  test('are listed, the last one first, as many and as running as is asked for', async () => {
    const ids: string[] = []
    for (const command of ['echo 1', 'exit 2', `: ${'x'.repeat(5000)}`])
      ids.unshift(idOf(await execd.run({ command })))
    const running = idOf(await execd.run({ command: 'exec sleep 1000', background: true }))
    const list = async (query = '') => {
      const response = await execd.call(`/commands${query}`)
      return {
        status: response.status,
        body: (await response.json()) as CommandStatus[] & { message: string },
      }
    }
    const { body } = await list()
    expect(body.slice(0, 4).map(({ id }) => id)).toEqual([running, ...ids])
    expect(body.length).toBe(100)
    expect(body[1]?.content).toHaveLength(1024)
    expect(body[2]).toEqual(await status(ids[1] ?? ''))
    expect((await list('?limit=2')).body.map(({ id }) => id)).toEqual([running, ids[0]])
    expect((await list('?running=true')).body.map(({ id }) => id)).toEqual([running])
    expect((await list('?running=false&limit=1')).body.map(({ id }) => id)).toEqual([ids[0]])
    for (const [query, message] of [
      ['?limit=0', '"limit" must be an integer from 1 to 1000: found 0'],
      ['?limit=x', 'found x'],
      ['?limit=1001', 'found 1001'],
      ['?running=yes', '"running" must be true or false: found yes'],
    ]) {
      const refused = await list(query)
      expect([refused.status, refused.body.message]).toEqual([400, expect.stringContaining(message ?? '')])
    }
    await execd.call(`/command?id=${running}`, { method: 'DELETE' })
  })
})

describe('much output', () => {
  test('S3: a hundred megabytes without a newline come whole, and in time', async () => {
    const { answer } = send({ command: 'head -c 100000000 /dev/zero | tr "\\0" x' })
    let bytes = 0
    let rest = ''
    for await (const chunk of await answer) {
      const frames = (rest + String(chunk)).split('\n\n')
      rest = frames.pop() ?? ''
      for (const frame of frames)
        if (frame.startsWith('{"type":"stdout"')) bytes += outputOf(parseEvents(frame)).length
    }
    expect(bytes).toBe(100_000_000)
  })

  test('S4: lines that are written together go out together', async () => {
    const { answer } = send({ command: 'seq 1 20000' })
    let chunks = 0
    let text = ''
    for await (const chunk of await answer) {
      chunks++
      text += String(chunk)
    }
    expect(outputOf(parseEvents(text)).split('\n')).toHaveLength(20_001)
    expect(chunks).toBeLessThan(1000)
  })

  test('X16: to a client that stands still is not cut, and needs no memory', async () => {
    const { answer } = send({ command: 'head -c 200000000 /dev/zero | tr "\\0" x' })
    const response = await answer
    response.pause()
    let most = 0
    let still = 0
    let before = -1
    await until(async () => {
      const written = Number(/wchar: (\d+)/.exec(readFileSync(`/proc/${execd.pid()}/io`, 'utf8'))?.[1])
      still = written === before ? still + 1 : 0
      before = written
      most = Math.max(most, residentKb())
      return still > 10
    }, 'the stream to stand still')
    let bytes = 0
    let rest = ''
    for await (const chunk of response) {
      const frames = (rest + String(chunk)).split('\n\n')
      rest = frames.pop() ?? ''
      for (const frame of frames)
        if (frame.startsWith('{"type":"stdout"')) bytes += outputOf(parseEvents(frame)).length
      most = Math.max(most, residentKb())
    }
    expect(bytes).toBe(200_000_000)
    expect(most).toBeLessThan(350_000)
  }, 60_000)

  test('is bounded on disk, and the log has its end', async () => {
    const id = idOf(
      await execd.run({ command: 'head -c 100000000 /dev/zero | tr "\\0" x; echo end', background: true }),
    )
    await ended(id)
    const response = await execd.call(`/command/${id}/logs`)
    const text = await response.text()
    expect(Number(response.headers.get('EXECD-COMMANDS-TAIL-CURSOR'))).toBe(100_000_004)
    expect(text.length).toBeLessThanOrEqual(64 << 20)
    expect(text.length).toBeGreaterThanOrEqual(32 << 20)
    expect(text.endsWith('xend\n')).toBe(true)
    const tail = await execd.call(`/command/${id}/logs?cursor=100000000`)
    expect(await tail.text()).toBe('end\n')
  })

  test('L13: of a command that runs never tears a character', async () => {
    const id = idOf(await execd.run({ command: 'printf "a\\342\\202"; sleep 1000', background: true }))
    const log = async (cursor = 0) => {
      const response = await execd.call(`/command/${id}/logs?cursor=${cursor}`)
      return [await response.text(), Number(response.headers.get('EXECD-COMMANDS-TAIL-CURSOR'))]
    }
    await until(async () => (await log())[0] !== '', 'its output')
    expect(await log()).toEqual(['a', 1])
    expect(await log(1)).toEqual(['', 1])
    await execd.call(`/command?id=${id}`, { method: 'DELETE' })
    expect(await log(1)).toEqual(['\ufffd', 3])
  })
})

/** Runs a foreground command of several steps, each of which begins when the output of the one before has arrived. */
async function runInSteps(steps: string[]): Promise<Event[]> {
  const dir = mkdtempSync(join(tmpdir(), 'execd-steps-'))
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }))
  const go = join(dir, 'go')
  execFileSync('mkfifo', [go])
  // Opened once: who opens it anew may still find the writer of before, and then reads its end.
  const { answer } = send({ command: `exec 8<> ${go}; ${steps.join('; read -r _ <&8; ')}` })
  let text = ''
  const reading = (async () => {
    for await (const chunk of await answer) text += String(chunk)
  })()
  const whole = () => text.slice(0, text.lastIndexOf('\n\n') + 2)
  const id = await until(async () => idOf(parseEvents(whole())), 'the id')
  const arrived = async () => (await (await execd.call(`/command/${id}/logs`)).text()).length
  for (let before = 0, left = steps.length - 1; left > 0; left--) {
    before = await until(async () => (await arrived()) > before && arrived(), 'the next output')
    const writing = openSync(go, constants.O_WRONLY | constants.O_NONBLOCK)
    writeSync(writing, '\n')
    closeSync(writing)
  }
  await reading
  return parseEvents(text)
}

describe('a foreground command', () => {
  test('S1: ends its stream with its end', async () => {
    await execd.run({ command: 'true' })
    using clock = startFairClock()
    for (let count = 0; count < 10; count++) await execd.run({ command: 'true' })
    // A second for each, were there a tail.
    expect(clock.elapsedMs()).toBeLessThan(5000)
  })

  test('L6: has a log of both streams, of which a client that was cut off can read on', async () => {
    const events = await runInSteps(['printf "a\\n"', 'printf b >&2', 'printf "c\\377"'])
    const id = idOf(events)
    const response = await execd.call(`/command/${id}/logs`)
    expect(Buffer.from(await response.arrayBuffer())).toEqual(Buffer.from('a\nbc\xff', 'latin1'))
    expect(response.headers.get('EXECD-COMMANDS-TAIL-CURSOR')).toBe('5')
    expect(Buffer.from(await (await execd.call(`/command/${id}/logs?cursor=3`)).arrayBuffer())).toEqual(
      Buffer.from('c\xff', 'latin1'),
    )
  })

  test('costs no file for little output, and one for more or for a longer run', async () => {
    const sizeOf = (events: Parameters<typeof idOf>[0]) =>
      statSync(join(execd.dir, 'commands', `${idOf(events)}.output`), { throwIfNoEntry: false })?.size
    // One that took its time counts as a longer run, and on a busy machine any may.
    await until(async () => sizeOf(await execd.run({ command: 'echo little' })) === undefined, 'no file')
    expect(sizeOf(await execd.run({ command: 'seq 1 10000' }))).toBe(48_894)
    expect(sizeOf(await execd.run({ command: 'echo little; sleep 0.3' }))).toBe(7)
    expect(sizeOf(await execd.run({ command: 'echo little', background: true }))).not.toBe(0)
  })

  test('X7: has its files for nobody but root', () => {
    for (const name of readdirSync(join(execd.dir, 'commands')))
      expect(statSync(join(execd.dir, 'commands', name)).mode & 0o777).toBe(0o600)
    expect(statSync(join(execd.dir, 'commands')).mode & 0o066).toBe(0)
  })

  test('R12: whose client has left is found, has its output, and can be interrupted', async () => {
    const { sent, answer } = send({ command: 'echo abandoned; exec sleep 1000 # mine' })
    await new Promise<void>(
      (resolve) => void answer.then((response) => response.once('data', () => resolve())),
    )
    sent.destroy()
    const found = await until(async () => {
      const all = (await (await execd.call('/commands?running=true')).json()) as CommandStatus[]
      return all.find(({ content }) => content.endsWith('# mine'))
    }, 'the command')
    await until(
      async () => (await (await execd.call(`/command/${found.id}/logs`)).text()) === 'abandoned\n',
      'its output',
    )
    expect((await execd.call(`/command?id=${found.id}`, { method: 'DELETE' })).status).toBe(200)
    expect(await status(found.id)).toMatchObject({ running: false, signal: 'SIGTERM' })
  })

  test.each([
    ['at once', 0],
    ['after the head', 1],
    ['in the middle of its output', 2],
  ])('ends and is remembered when its client leaves %s', async (_when, stage) => {
    const mark = `# stage ${stage}`
    const { sent, answer } = send({ command: `seq 1 200000; exit 5 ${mark}` })
    if (stage === 0) await new Promise((resolve) => sent.once('finish', resolve))
    else {
      const response = await answer
      if (stage === 2) await new Promise((resolve) => response.once('data', resolve))
    }
    sent.destroy()
    const { id } = await until(async () => {
      const all = (await (await execd.call('/commands')).json()) as CommandStatus[]
      return all.find(({ content, running }) => content.endsWith(mark) && !running)
    }, 'its end')
    expect(await status(id)).toMatchObject({ exit_code: 5 })
    expect((await (await execd.call(`/command/${id}/logs`)).text()).endsWith('\n200000\n')).toBe(true)
  })

  test('that closes its output and goes on has its end when it ends', async () => {
    const events = await execd.run({ command: 'echo before; exec >&- 2>&-; sleep 0.3; exit 6' })
    expect(outputOf(events)).toBe('before\n')
    expect(events.at(-1)?.error?.evalue).toBe('6')
    expect((await status(idOf(events))).exit_code).toBe(6)
  })

  test('L5: has both streams in the order of writing when it takes its time, and always in the background', async () => {
    const steps = [1, 2, 3, 4, 5].flatMap((at) => [`echo o${at}`, `echo e${at} >&2`])
    const events = await runInSteps(steps)
    const texts = events.filter(({ type }) => type.startsWith('std')).map(({ text }) => text?.trim())
    expect(texts).toEqual(['o1', 'e1', 'o2', 'e2', 'o3', 'e3', 'o4', 'e4', 'o5', 'e5'])
    const id = idOf(await execd.run({ command: steps.join('; '), background: true }))
    await ended(id)
    expect((await (await execd.call(`/command/${id}/logs`)).text()).trim().split('\n')).toEqual(texts)
  })

  test('L4: keeps what redraws a line told from what ends it', async () => {
    const events = await execd.run({ command: 'printf "10%%\\r50%%\\r100%%\\n"' })
    expect(events.filter(({ type }) => type === 'stdout').map(({ text }) => text)).toEqual([
      '10%\r',
      '50%\r',
      '100%\n',
    ])
  })
})

test('a full disk ends no command, and what it takes is told', async (context) => {
  const parent = mkdtempSync(join(tmpdir(), 'execd-full-'))
  onTestFinished(() => rmSync(parent, { recursive: true, force: true }))
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', parent], { stdio: 'ignore' })
  } catch {
    return context.skip('a small file system needs the right to mount one')
  }
  onTestFinished(() => void execFileSync('umount', ['-l', parent]))
  await using small = await startDaemon({}, { parent })
  const id = idOf(
    await small.run({ command: 'echo first; seq 1 1000000; echo last; exit 3', background: true }),
  )
  expect(await ended(id, small)).toMatchObject({ exit_code: 3, output_lost: true })
  const response = await small.call(`/command/${id}/logs`)
  expect(response.headers.get('EXECD-COMMANDS-OUTPUT-LOST')).toBe('true')
  expect((await response.text()).startsWith('first\n1\n2\n')).toBe(true)
  // Foreground commands have all of their output in their stream, and run though nothing can be recorded.
  writeFileSync(join(parent, 'filler'), '')
  execFileSync('sh', ['-c', `cat /dev/zero > ${join(parent, 'filler')} 2> /dev/null || true`])
  const events = await small.run({ command: 'seq 1 100000; sleep 0.2; exit 4' })
  expect(outputOf(events).length).toBe(588_895)
  expect(events.at(-1)?.error?.evalue).toBe('4')
  expect(await status(idOf(events), small)).toMatchObject({ exit_code: 4, output_lost: true })
  const quiet = await small.run({ command: 'sleep 0.2; echo little' })
  expect(await status(idOf(quiet), small)).toMatchObject({ exit_code: 0 })
})
