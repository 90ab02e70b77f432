import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import { EventLog } from '../../egress/event-log.ts'

type Event = { at: number; text: string }

/** The same by a list, beside which the log is held. */
function openBoth() {
  const log = new EventLog<Event>()
  const list: Event[] = []
  const check = (first = 0, end = list.length) => expect(log.read(first, end)).toEqual(list.slice(first, end))
  return {
    log,
    check,
    add: (event: Event) => {
      log.add(event)
      list.push(event)
    },
    drop: (count: number) => {
      log.dropOldest(count)
      list.splice(0, count)
    },
  }
}

test('gives back what was added, in its order and by its places', () => {
  const { log, add, drop, check } = openBoth()
  expect(log.read(0, 10)).toEqual([])
  for (const text of ['a', '', 'ä€😀', '\ud800', '"\\\n', 'x'.repeat(10_000)]) add({ at: log.length, text })
  expect(log.length).toBe(6)
  check()
  check(2, 4)
  check(5, 100)
  check(6, 9)
  drop(3)
  expect(log.length).toBe(3)
  check()
  drop(3)
  check()
  add({ at: 7, text: 'after all have gone' })
  check()
})

test('goes on for as long as events come, large and small, and are dropped', () => {
  const { log, add, drop, check } = openBoth()
  for (let at = 0; at < 20_000; at++) {
    add({ at, text: 'é'.repeat(at % 997 === 0 ? 5000 : at % 40) })
    if (log.length === 200) {
      check()
      drop(100)
      check(0, 3)
      check(97, 100)
    }
  }
  check()
})

test('gives memory back that it needs no longer', () => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const heldBytes = () => {
    collect()
    return process.memoryUsage().arrayBuffers
  }
  const before = heldBytes()
  const { log, add, drop, check } = openBoth()
  for (let at = 0; at < 200; at++) add({ at, text: 'x'.repeat(50_000) })
  expect(heldBytes() - before).toBeGreaterThan(10_000_000)
  drop(200)
  // Until there is no room behind them any more.
  for (let at = 0; at < 200_000; at++) {
    add({ at, text: 'x'.repeat(100) })
    if (log.length > 100) drop(100)
  }
  check()
  expect(heldBytes() - before).toBeLessThan(1_000_000)
})
