// The measuring of egress-many.ts, on its machine: `egress-many-world.ts INTERNET FOLDER`. Writes rows.json into the folder. The processor
// time is that of egress with all that it starts; what the kernel does later for it is not in it.

import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import dnsPacket from 'dns-packet'
import { HOST } from '../system/egress/internet.ts'
import { type Lab, measure, openLab, residentMegabytes, row, TOKEN } from './egress-lab.ts'
import { cpuSecondsOfProcess, statFieldsOf, TICKS_PER_SECOND } from './process-cost.ts'
import { percentile } from './samples.ts'
import type { BenchRow } from './table.ts'

const NAME_SERVER_PORT = 5353
const MANY = 500
const RULES = 100
const AT_ONCE = 20
const CHANGES = 100
const COMINGS = 40
/** As egress-client.py asks, with those by which it warms up. */
const LEARNED = 250
const IDLE_MS = 15_000

type Cost = { times: number[]; cpuMs: number }

if (import.meta.main) {
  const [internet = '', folder = ''] = process.argv.slice(2)
  await using cleanup = new AsyncDisposableStack()
  const names = await openNameServer()
  cleanup.defer(() => void names.close())
  const lab = await openLab({ internet, folder, cleanup, nameServer: `${HOST}:${NAME_SERVER_PORT}` })
  writeFileSync(join(folder, 'rows.json'), JSON.stringify(await measureMany(lab)))
}

async function measureMany(lab: Lab): Promise<BenchRow[]> {
  const { admin, policy, egressPid } = lab
  const before = residentMegabytes(egressPid)
  const alone = await measureLearning(lab)
  for (let from = 0; from < MANY; from += AT_ONCE)
    await Promise.all(Array.from({ length: AT_ONCE }, (_, offset) => register(lab, from + offset)))
  const after = residentMegabytes(egressPid)
  const changing = await costOf(egressPid, CHANGES, (change) => {
    const at = ((change + 1) * 37) % MANY
    return policy(`s${at}`, policyOf(at, change + 1))
  })
  const coming = await costOf(egressPid, COMINGS, async (change) => {
    await admin('DELETE', `/sandboxes/s${change}`)
    return () => register(lab, change)
  })
  const learning = await measureLearning(lab)
  const idleFrom = cpuMsOfTree(egressPid)
  await delay(IDLE_MS)
  const idle = cpuMsOfTree(egressPid) - idleFrom
  const changed = residentMegabytes(egressPid)
  for (let at = 0; at < MANY; at++) await admin('DELETE', `/sandboxes/s${at}`)
  return [
    row('a change of one policy, p50', 'ms', percentile(changing.times, 0.5), {}, { max: 20 }),
    row('a change of one policy, p99', 'ms', percentile(changing.times, 0.99)),
    row('a change of one policy, processor', 'ms', changing.cpuMs / CHANGES),
    row('one more sandbox, p50', 'ms', percentile(coming.times, 0.5)),
    row('a name that opens an address, p50', 'ms', percentile(learning.times, 0.5), {
      'with one': percentile(alone.times, 0.5),
    }),
    row('a name that opens an address, p99', 'ms', percentile(learning.times, 0.99), {
      'with one': percentile(alone.times, 0.99),
    }),
    row('a name that opens an address, processor', 'ms', learning.cpuMs / LEARNED, {
      'with one': alone.cpuMs / LEARNED,
    }),
    row('a minute of idling, processor', 'ms', (idle / IDLE_MS) * 60_000),
    row('resident memory of egress', 'MB', after, { 'without them': before }, { max: 150 }),
    row('the same after all of this', 'MB', changed, { 'without them': before }, { max: 150 }),
  ]
}

async function measureLearning({ policy, namespaces, network, egressPid }: Lab): Promise<Cost> {
  // A domain of its own each time: nothing of it is in the cache, and so many names below one are few enough for the limits.
  const name = `d${Math.trunc(performance.now())}.example`
  // What was learned before is forgotten with its rule.
  await policy('ours', { defaultAction: 'deny', egress: [{ action: 'allow', target: `*.${name}` }] })
  const from = cpuMsOfTree(egressPid)
  const times = await measure(namespaces.ours, 'new', network.gateway, name)
  return { times, cpuMs: cpuMsOfTree(egressPid) - from }
}

/** `act` may do something first, and give back what is to be timed. */
async function costOf(pid: number, count: number, act: (index: number) => Promise<unknown>): Promise<Cost> {
  const times: number[] = []
  const from = cpuMsOfTree(pid)
  for (let index = 0; index < count; index++) {
    let began = performance.now()
    const then = await act(index)
    if (typeof then === 'function') {
      began = performance.now()
      await then()
    }
    times.push(performance.now() - began)
  }
  return { times, cpuMs: cpuMsOfTree(pid) - from }
}

function register({ admin, network }: Lab, at: number): Promise<string> {
  const [a, b] = network.gateway.split('.')
  return admin('PUT', `/sandboxes/s${at}`, {
    address: `${a}.${b}.${10 + Math.floor(at / 250)}.${(at % 250) + 1}`,
    interface: `${network.interfacePrefix}s${at}`,
    token: TOKEN,
    policy: policyOf(at, 0),
  })
}

function policyOf(at: number, change: number) {
  return {
    defaultAction: 'deny',
    egress: Array.from({ length: RULES }, (_, rule) => ({
      action: 'allow',
      target:
        rule % 2 === 0 ? `n${rule}.s${at}.c${change}.example` : `198.18.${at % 250}.${(rule + change) % 250}`,
    })),
  }
}

/** Answers every name with another address than the ones before. */
async function openNameServer(): Promise<Socket> {
  const socket = createSocket('udp4')
  let count = 0
  socket.on('message', (message, from) => {
    const { id = 0, questions = [] } = dnsPacket.decode(message)
    const [question] = questions
    if (!question) return
    count++
    const data = `198.51.${100 + (Math.floor(count / 250) % 100)}.${1 + (count % 250)}`
    const answers = question.type === 'A' ? [{ type: 'A' as const, name: question.name, ttl: 60, data }] : []
    socket.send(
      dnsPacket.encode({ type: 'response', id, flags: 0, questions, answers }),
      from.port,
      from.address,
    )
  })
  socket.bind({ address: HOST, port: NAME_SERVER_PORT })
  await once(socket, 'listening')
  return socket
}

/** Of the process, of what it has waited for, and of all below it that still runs. */
function cpuMsOfTree(root: number): number {
  const parents = new Map<string, string>()
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name)))
    try {
      parents.set(pid, statFieldsOf(pid)[1] ?? '')
    } catch {
      // It has ended meanwhile.
    }
  const isBelow = (pid: string): boolean => {
    if (pid === String(root)) return true
    const parent = parents.get(pid)
    return parent !== undefined && isBelow(parent)
  }
  let seconds = 0
  for (const pid of parents.keys())
    try {
      if (!isBelow(pid)) continue
      const fields = statFieldsOf(pid)
      seconds += cpuSecondsOfProcess(pid) + (Number(fields[13]) + Number(fields[14])) / TICKS_PER_SECOND
    } catch {
      // As above.
    }
  return seconds * 1000
}
