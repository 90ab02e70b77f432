// `npm run attack [-- local|docker]`: every case against the runtimes of this machine, as a table; ends with 1 when one was not blocked.

import { messageOf } from '../../../lib/errors.ts'
import type { Outcome } from './outcome.ts'
import { ATTACKED, type Attacked, attack, whyNotAttacked } from './run.ts'

const wanted = process.argv.slice(2)
const unknown = wanted.filter((name) => !(ATTACKED as readonly string[]).includes(name))
if (unknown.length > 0) {
  console.error(`Unknown runtime "${unknown.join('", "')}": there are ${ATTACKED.join(' and ')}`)
  process.exit(2)
}
const runtimes = ATTACKED.filter((name) => wanted.length === 0 || wanted.includes(name))
let failed = false
const results = await Promise.all(
  runtimes.map(async (runtime) => ({ runtime, ...(await tryRuntime(runtime)) })),
)

let wrong = 0
for (const { runtime, reason, outcomes } of results) {
  if (reason) console.log(`${runtime}: not attacked, as ${reason}`)
  for (const outcome of outcomes) {
    if (outcome.wrong) wrong++
    console.log(format(runtime, outcome))
  }
}
for (const { runtime, outcomes } of results)
  console.log(
    `${runtime}: ${outcomes.length} cases, ${outcomes.filter((each) => each.wrong).length} not as they must be`,
  )
process.exit(failed || wrong > 0 || results.every(({ outcomes }) => outcomes.length === 0) ? 1 : 0)

async function tryRuntime(runtime: Attacked): Promise<{ reason?: string; outcomes: Outcome[] }> {
  const reason = whyNotAttacked(runtime)
  if (reason) return { reason, outcomes: [] }
  try {
    return { outcomes: await attack(runtime) }
  } catch (error) {
    failed = true
    return { reason: messageOf(error), outcomes: [] }
  }
}

function format(runtime: string, { id, what, seen, arrived, recorded, wrong }: Outcome): string {
  const verdict = wrong ? `WRONG: ${wrong}` : arrived ? 'arrived' : 'blocked'
  return `${runtime.padEnd(7)}${id.padEnd(26)}${verdict.padEnd(9)} ${what}: ${seen}${recorded ? ` [${recorded}]` : ''}`
}
