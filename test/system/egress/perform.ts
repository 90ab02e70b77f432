// Performs cases of the table in a sandbox, and judges them by what arrived and what was recorded.

import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { AttackCase } from './cases/case.ts'
import { type Arrivals, TOKEN_PREFIX } from './internet.ts'
import { judge, type Outcome, type Performed } from './outcome.ts'
import { enter, type ProductClient } from './product.ts'

const ATTACK_MS = 180_000
/** Until the kernel has told egress what it refused. */
const RECORD_MS = 8000

export type Performance = {
  product: ProductClient
  /** Its process as the machine numbers it, where there are cases with all capabilities. */
  attacker: { id: string; pid?: number }
  cases: readonly AttackCase[]
  /** The number of the first of them; those that follow have the next ones. */
  first: number
  facts: Record<string, unknown>
  arrivals(): Promise<Arrivals>
}

/** In two programs: as root of the sandbox, and with all capabilities in its network. */
export async function performCases({
  product,
  attacker,
  cases,
  first,
  facts,
  arrivals,
}: Performance): Promise<Outcome[]> {
  await using followed = product.follow(attacker.id)
  const performed = new Map<number, Performed>()
  for (const as of ['root', 'all'] as const) {
    if (!cases.some((one) => one.as === as)) continue
    const file = `/tmp/attack-${as}-${first}.py`
    const program = formatProgram(cases, first, as)
    await product.run(attacker.id, `echo ${Buffer.from(program).toString('base64')} | base64 -d > ${file}`)
    const text =
      as === 'root'
        ? await product.run(attacker.id, `python3 ${file} '${JSON.stringify(facts)}'`)
        : await runIn(enterWithAll(attacker), ['python3', file, JSON.stringify(facts)])
    for (const line of text.split('\n'))
      if (line.startsWith('RESULT ')) {
        const one = JSON.parse(line.slice('RESULT '.length)) as Performed
        performed.set(one.number, one)
      }
    if (!text.includes('RESULT ')) throw new Error(`The attacking program has failed:\n${text}`)
  }
  const judgeAll = async () => {
    const arrived = await arrivals()
    return cases.map((one, at) =>
      judge(one, {
        performed: performed.get(first + at),
        arrivals: arrived[first + at]?.count ?? 0,
        events: followed.events,
        token: `${TOKEN_PREFIX}${first + at}x`,
      }),
    )
  }
  // The kernel is asked now and then what it has refused.
  const deadline = performance.now() + RECORD_MS
  let outcomes = await judgeAll()
  while (
    outcomes.some(({ wrong }) => wrong === 'nothing was recorded of it') &&
    performance.now() < deadline
  ) {
    await delay(500)
    outcomes = await judgeAll()
  }
  return outcomes
}

function enterWithAll({ id, pid }: Performance['attacker']): string[] {
  if (pid === undefined) throw new Error(`No process of sandbox "${id}" is known`)
  // The machine's own view of the settings, of which those of the network are those of whoever looks.
  return ['sh', '-c', 'exec "$@" 9</proc/sys', 'sh', ...enter({ pid })]
}

function formatProgram(cases: readonly AttackCase[], first: number, as: 'root' | 'all'): string {
  const numbered = cases.map((one, at) => ({ ...one, number: first + at })).filter((one) => one.as === as)
  const alone = numbered.filter(({ isAlone }) => isAlone).map(({ number }) => number)
  return [
    readFileSync(join(import.meta.dirname, 'prelude.py'), 'utf8'),
    ...numbered.map(({ number, run }) => `case(${number}, lambda: ${run})`),
    `main({${alone.join(', ')}} if ${alone.length} else set())`,
    '',
  ].join('\n')
}

/** Runs a program behind a command that enters somewhere, and gives what it printed, whatever became of it. */
export async function runIn(enter: string[], command: string[]): Promise<string> {
  const [program = '', ...args] = [...enter, ...command]
  const { stdout, stderr } = await promisify(execFile)(program, args, {
    timeout: ATTACK_MS,
    maxBuffer: 1 << 24,
    env: { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' },
  }).catch((error: { stdout?: string; stderr?: string }) => ({
    stdout: error.stdout ?? '',
    stderr: `${error.stderr ?? ''}${String(error)}`,
  }))
  return `${stdout}${stderr}`
}
