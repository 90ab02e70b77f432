// The numbers of egress as Prometheus reads them (contract: egress.md 7, under names of ours). What happens is counted here as it is told;
// how much there is, is looked up when somebody asks. Each label has a bounded number of values: no names, no addresses, no ids.

import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { WebhookCounts } from './deny-webhook.ts'
import { RCODE } from './dns/message.ts'
import type { Decided } from './record.ts'

/** What is looked up when it is asked for. */
export type EgressFigures = {
  sandboxes(): number
  /** Rules of all policies, and addresses that names have opened. */
  rules(): number
  learned(): number
  connections(): number
  upstream(): { hits: number; misses: number; failures: number }
  webhook?(): Readonly<WebhookCounts>
}

export type EgressMetrics = {
  questionAnswered(answered: { transport: string; rcode: number; isBlocked: boolean; ms: number }): void
  decided(decided: Decided): void
  rulesApplied(isFailed: boolean): void
  /** Egress's own numbers as text. */
  format(): Promise<string>
  readonly contentType: string
}

type Decisions = Record<Decided['kind'], Record<Decided['verdict'], number>>

const QUESTION_SECONDS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5]

export function createEgressMetrics(figures: EgressFigures): EgressMetrics {
  const registry = new Registry()
  const registers = [registry]
  const questions = new Histogram({
    name: 'opensandbox_egress_dns_query_duration_seconds',
    help: 'Time until a question of a sandbox was answered: "blocked" by us, "failed" when no server helped.',
    labelNames: ['transport', 'outcome'],
    buckets: QUESTION_SECONDS,
    registers,
  })
  // In plain numbers, as every request counts here: to find three counters by their labels takes as long as to judge a request.
  const decisions: Decisions = {
    name: { allow: 0, deny: 0 },
    connection: { allow: 0, deny: 0 },
    request: { allow: 0, deny: 0 },
  }
  const bytes = { sent: 0, received: 0 }
  addDecisions(registers, decisions)
  const updates = new Counter({
    name: 'opensandbox_egress_nftables_updates_total',
    help: 'Transactions of packet rules, learned addresses among them.',
    labelNames: ['outcome'],
    registers,
  })
  addFigures(registers, figures, bytes)
  addProcess(registers)
  return {
    contentType: registry.contentType,
    questionAnswered({ transport, rcode, isBlocked, ms }) {
      const isAnswered = rcode === RCODE.ok || rcode === RCODE.noSuchName
      questions.observe(
        { transport, outcome: isBlocked ? 'blocked' : isAnswered ? 'answered' : 'failed' },
        ms / 1000,
      )
    },
    decided({ kind, verdict, count = 1, bytesSent = 0, bytesReceived = 0 }) {
      decisions[kind][verdict] += count
      bytes.sent += bytesSent
      bytes.received += bytesReceived
    },
    rulesApplied: (isFailed) => updates.inc({ outcome: isFailed ? 'failure' : 'success' }),
    format: () => registry.metrics(),
  }
}

function addDecisions(registers: Registry[], decisions: Decisions): void {
  new Counter({
    name: 'opensandbox_egress_decisions_total',
    help: 'Decisions about names, connections and requests.',
    labelNames: ['kind', 'verdict'],
    registers,
    collect() {
      this.reset()
      for (const [kind, counts] of Object.entries(decisions))
        for (const [verdict, count] of Object.entries(counts)) this.inc({ kind, verdict }, count)
    },
  })
}

function addFigures(
  registers: Registry[],
  figures: EgressFigures,
  bytes: Readonly<Record<'sent' | 'received', number>>,
): void {
  const gauge = (name: string, help: string, read: () => number) =>
    new Gauge({
      name: `opensandbox_egress_${name}`,
      help,
      registers,
      collect() {
        this.set(read())
      },
    })
  const counter = <T extends object>(name: string, help: string, label: string, read: () => T) =>
    new Counter({
      name: `opensandbox_egress_${name}`,
      help,
      labelNames: [label],
      registers,
      collect() {
        this.reset()
        for (const [value, count] of Object.entries(read())) this.inc({ [label]: value }, Number(count))
      },
    })
  gauge('sandboxes', 'Sandboxes that are filtered.', figures.sandboxes)
  gauge('policy_rules', 'Rules of the policies in force.', figures.rules)
  gauge('learned_addresses', 'Addresses that names have opened.', figures.learned)
  gauge('relayed_connections', 'Connections that are being relayed.', figures.connections)
  counter(
    'relayed_bytes_total',
    'Bytes of relayed connections that have ended, as the sandboxes have sent and received them.',
    'direction',
    () => bytes,
  )
  counter('dns_upstream_total', 'Questions by whether the answer was known.', 'outcome', figures.upstream)
  if (figures.webhook)
    counter(
      'deny_webhook_total',
      'Denied names by whether the webhook took them.',
      'outcome',
      figures.webhook,
    )
}

/** Not under the names that control has, beside which these stand. */
function addProcess(registers: Registry[]): void {
  new Gauge({
    name: 'opensandbox_egress_resident_memory_bytes',
    help: 'Resident memory of egress.',
    registers,
    collect() {
      this.set(process.memoryUsage.rss())
    },
  })
  new Counter({
    name: 'opensandbox_egress_cpu_seconds_total',
    help: 'User and system CPU time of egress.',
    registers,
    collect() {
      const { user, system } = process.cpuUsage()
      this.reset()
      this.inc((user + system) / 1e6)
    },
  })
}
