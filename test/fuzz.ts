// `npm run fuzz [-- TARGET] [--seconds 60] [--seed NUMBER]`: made-up messages are read by a reader of ours and by others until the time is
// over; every disagreement without a written reason is printed, with what makes it again.

import { parseArgs } from 'node:util'
import { messageOf } from '../lib/errors.ts'
import { EGRESS_TARGETS, fuzzEgress } from './egress/fuzz/fuzz.ts'

const TARGETS = ['gateway', 'egress', ...Object.keys(EGRESS_TARGETS)]
const USAGE = `npm run fuzz -- [${TARGETS.join('|')}] [--seconds 60] [--seed NUMBER]`

const { values, positionals } = readArguments()
const [target = 'gateway', ...more] = positionals
const seconds = Number(values.seconds)
const seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 32) : Number(values.seed)
if (!TARGETS.includes(target) || more.length > 0 || !(seconds > 0) || !Number.isInteger(seed)) {
  const given = [...positionals, `--seconds ${values.seconds}`, `--seed ${values.seed}`].join(' ')
  console.error(`Cannot run with ${given}: ${USAGE}`)
  process.exit(2)
}
const wrong =
  target === 'gateway'
    ? await (await import('./gateway/strict/fuzz.ts')).fuzzGateway(seconds, seed)
    : await fuzzEgress(target === 'egress' ? Object.keys(EGRESS_TARGETS) : [target], seconds, seed)
process.exit(wrong > 0 ? 1 : 0)

function readArguments() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: { seconds: { type: 'string', default: '60' }, seed: { type: 'string' } },
    })
  } catch (error) {
    console.error(`${messageOf(error)}: ${USAGE}`)
    process.exit(2)
  }
}
