// Who is given up, and who is not, on connections of this machine. A test says what time it is.

import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { openQueuedBytes } from '../../egress/queued-bytes.ts'
import { StallWatch } from '../../egress/stall-watch.ts'

/** Both ends of a connection; nobody reads at the other one. */
async function begin(): Promise<{ ours: Socket; theirs: Socket }> {
  const server = createServer({ pauseOnConnect: true })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const ours = connect((server.address() as AddressInfo).port, '127.0.0.1')
  ours.on('error', () => {})
  const [theirs] = (await once(server, 'connection')) as [Socket]
  theirs.on('error', () => {})
  onTestFinished(() => {
    ours.destroy()
    theirs.destroy()
    server.close()
  })
  return { ours, theirs }
}

/** More than the kernel takes of what nobody reads. */
const MUCH = Buffer.alloc(32 << 20)

function setup(queuedBytesOf = openQueuedBytes()) {
  const watch = new StallWatch({ queuedBytesOf, limitMs: 100 })
  const given: Socket[] = []
  return { watch, given, follow: (socket: Socket) => watch.watchSocket(socket, () => given.push(socket)) }
}

test('who takes nothing of what waits is given up in time, and who is owed nothing never', async () => {
  const { watch, given, follow } = setup()
  const [full, silent] = [await begin(), await begin()]
  silent.theirs.resume()
  silent.ours.write('hello')
  await once(silent.theirs, 'data')
  follow(full.ours)
  follow(silent.ours)
  full.ours.write(MUCH)
  let now = 0
  await expect
    .poll(() => {
      now += 100
      watch.look(now)
      return given
    })
    .toEqual([full.ours])
  for (let looks = 1; looks < 5; looks++) watch.look(now + looks * 100)
  expect(new Set(given)).toEqual(new Set([full.ours]))
})

test('who takes some between two looks is not given up, though the kernel asks for nothing more', async () => {
  let queued = 1000
  const { watch, given, follow } = setup(() => queued)
  const { ours } = await begin()
  follow(ours)
  watch.look(0)
  queued--
  watch.look(100)
  queued--
  watch.look(200)
  expect(given).toEqual([])
  watch.look(300)
  expect(given).toEqual([ours])
})

test('what only the kernel holds waits too, until the other side has it', async () => {
  const queuedBytesOf = openQueuedBytes()
  const { ours, theirs } = await begin()
  ours.write(MUCH)
  await expect.poll(() => queuedBytesOf(ours)).toBeGreaterThan(0)
  theirs.resume()
  await expect.poll(() => queuedBytesOf(ours) + ours.writableLength).toBe(0)
  ours.destroy()
  await once(ours, 'close')
  expect(queuedBytesOf(ours)).toBe(0)
})

test('nobody is given up who is not watched any more, and who took it over is told instead', async () => {
  const { watch, given, follow } = setup(() => 1)
  const { ours } = await begin()
  const taken: string[] = []
  const unwatch = follow(ours)
  const unwatchNext = watch.watchSocket(ours, () => taken.push('next'))
  unwatch()
  watch.look(0)
  watch.look(100)
  expect([given, taken]).toEqual([[], ['next']])
  unwatchNext()
  watch.look(200)
  watch.look(300)
  expect([taken, ours.listenerCount('close')]).toEqual([['next'], 0])
})

test('what is watched beside sockets is looked at as long as it wants', () => {
  const { watch } = setup()
  const times: number[] = []
  const unwatch = watch.watch((now) => times.push(now))
  watch.look(1)
  watch.look(2)
  unwatch()
  watch.look(3)
  expect(times).toEqual([1, 2])
})
