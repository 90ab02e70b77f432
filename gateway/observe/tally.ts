// What a gateway counts. Requests are counted in plain arrays, as there are tens of thousands in a second; the text for Prometheus is
// made from them when somebody asks (control/gateways.ts). No label is an id, a path or anything else that a caller makes up.

import type { Family, Sample } from '../../lib/api/gateway-admin.ts'
import { EGRESS_PORT, EXECD_PORT } from '../../lib/api/guest.ts'
import { CROWDED_LIMITS, type CrowdedLimit } from '../front/front.ts'
import type { Outcome } from './outcome.ts'

/** What a request was for. */
const KINDS = ['app', 'execd', 'egress', 'control', 'gateway'] as const
type Kind = (typeof KINDS)[number]
/** `left`: the client did, before its answer. */
const CLASSES = ['1xx', '2xx', '3xx', '4xx', '5xx', 'left', 'broken'] as const
type Class = (typeof CLASSES)[number]

const SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60]

/** What there is at this moment. */
export type Gauges = {
  connections: { idle: number; request: number; stream: number }
  routes: number
}

export class Tally {
  readonly #requests = KINDS.map(() => new Float64Array(CLASSES.length))
  readonly #durations = KINDS.map(() => new Buckets())
  readonly #legs = { wait: new Buckets(), connect: new Buckets(), first_byte: new Buckets() }
  #bytesIn = 0
  #bytesOut = 0
  readonly #wakes = new Map<'woken' | 'failed', number>([
    ['woken', 0],
    ['failed', 0],
  ])
  readonly #crowded = new Map<CrowdedLimit, number>(CROWDED_LIMITS.map((limit) => [limit, 0]))
  #guesses = 0

  count(outcome: Outcome): void {
    const { status, ms, legs, plan, bytesIn, bytesOut } = outcome
    const kind = KINDS.indexOf(kindOf(plan))
    const counts = this.#requests[kind]
    const at = CLASSES.indexOf(classOf(outcome))
    if (counts) counts[at] = (counts[at] ?? 0) + 1
    // A stream lasts as long as it is wanted, which tells nothing.
    if (status !== 101) this.#durations[kind]?.add(ms)
    if (legs.waitMs > 0) this.#legs.wait.add(legs.waitMs)
    if (legs.connectMs > 0) this.#legs.connect.add(legs.connectMs)
    if (legs.firstByteMs > 0) this.#legs.first_byte.add(legs.firstByteMs)
    this.#bytesIn += bytesIn
    this.#bytesOut += bytesOut
  }

  woke(outcome: 'woken' | 'failed'): void {
    this.#wakes.set(outcome, (this.#wakes.get(outcome) ?? 0) + 1)
  }

  /** A connection, or a stream that is counted as one, was refused. */
  crowded(limit: CrowdedLimit): void {
    this.#crowded.set(limit, (this.#crowded.get(limit) ?? 0) + 1)
  }

  guessed(): void {
    this.#guesses++
  }

  families({ connections, routes }: Gauges): Family[] {
    const samples = (entries: Iterable<readonly [Record<string, string>, number]>): Sample[] =>
      [...entries].map(([labels, value]) => ({ labels, value }))
    const one = (value: number) => samples([[{}, value]])
    const family = (type: Family['type'], name: string, help: string, values: Sample[]): Family => ({
      name: `opensandbox_gateway_${name}`,
      help,
      type,
      samples: values,
    })
    const byKind = KINDS.flatMap((to, kind) =>
      CLASSES.map((status, at) => [{ to, status }, this.#requests[kind]?.[at] ?? 0] as const),
    )
    return [
      family(
        'counter',
        'requests_total',
        'Requests by what they were for and how they ended.',
        samples(byKind),
      ),
      family(
        'histogram',
        'request_duration_seconds',
        'From the head of a request to its end, streams left out.',
        this.#durations.flatMap((buckets, kind) => buckets.samples({ to: KINDS[kind] ?? '' })),
      ),
      family(
        'histogram',
        'leg_duration_seconds',
        'Where the time of requests went that took any: waiting for a sandbox, connecting, its first byte.',
        Object.entries(this.#legs).flatMap(([leg, buckets]) => buckets.samples({ leg })),
      ),
      family('counter', 'received_bytes_total', 'Bytes from clients.', one(this.#bytesIn)),
      family('counter', 'sent_bytes_total', 'Bytes to clients.', one(this.#bytesOut)),
      family(
        'counter',
        'wakes_total',
        'Requests for which a paused sandbox was to wake.',
        samples([...this.#wakes].map(([outcome, value]) => [{ outcome }, value] as const)),
      ),
      family(
        'counter',
        'wrong_credentials_total',
        'Tokens, signatures and links that open nothing.',
        one(this.#guesses),
      ),
      family(
        'counter',
        'refused_connections_total',
        'Connections, and streams of HTTP/2, that were one too many: of one client, or of this process.',
        samples([...this.#crowded].map(([limit, value]) => [{ limit }, value] as const)),
      ),
      family(
        'gauge',
        'connections',
        'Connections of clients.',
        samples(Object.entries(connections).map(([state, value]) => [{ state }, value] as const)),
      ),
      family('gauge', 'routes', 'Sandboxes that are known.', one(routes)),
    ]
  }
}

/** Durations by how long they were. */
class Buckets {
  readonly #counts = new Float64Array(SECONDS.length + 1)
  #sum = 0

  add(ms: number): void {
    const seconds = ms / 1000
    let at = 0
    while (at < SECONDS.length && seconds > (SECONDS[at] ?? 0)) at++
    this.#counts[at] = (this.#counts[at] ?? 0) + 1
    this.#sum += seconds
  }

  samples(labels: Record<string, string>): Sample[] {
    let below = 0
    const buckets = [...this.#counts].map((count, at): Sample => {
      below += count
      return { labels: { ...labels, le: String(SECONDS[at] ?? '+Inf') }, value: below }
    })
    return [...buckets, { labels, value: this.#sum }]
  }
}

function kindOf(plan: Outcome['plan']): Kind {
  if (!plan) return 'gateway'
  if (plan.target.group === '') return 'control'
  if (plan.port === EXECD_PORT) return 'execd'
  return plan.port === EGRESS_PORT ? 'egress' : 'app'
}

function classOf({ status, reason }: Outcome): Class {
  if (status === 499) return 'left'
  // An answer that had begun well and was broken off.
  if (status === 0 || (reason !== undefined && status < 400)) return 'broken'
  return CLASSES[Math.min(5, Math.max(1, Math.floor(status / 100))) - 1] ?? '5xx'
}
