// The readers of egress on what is kept of earlier runs of the fuzzer, and on some thousand cases that are made up anew each time the
// code changes but not from run to run.

import { expect, onTestFinished, test } from 'vitest'
import { createRandom } from '../../gateway/strict/mutate.ts'
import { EGRESS_TARGETS, problemOf } from './fuzz.ts'
import { PLAIN_HELLO, readByOpenssl } from './hello-target.ts'
import { runsIn } from './mutate.ts'
import { hex, unhex } from './target.ts'

const MADE_UP = 1500
/** With each byte. */
const RUNS = 2

test.each(Object.keys(EGRESS_TARGETS))(
  'the reader "%s" is right about its corpus, and about made-up cases',
  async (name) => {
    const target = EGRESS_TARGETS[name]?.()
    if (!target) throw new Error(`There is no reader "${name}"`)
    onTestFinished(() => target.close?.())
    const random = createRandom(1)
    const made = [...target.corpus, ...Array.from({ length: MADE_UP }, () => target.make(random))]
    const wrong: string[] = []
    for (const each of made) {
      const problem = await problemOf(target, each)
      if (problem !== undefined) wrong.push(`${problem}: ${each}`)
    }
    expect(wrong).toEqual([])
  },
)

test.each(['dns', 'hello', 'hpack', 'http', 'http2'])(
  'the reader "%s" is right about long runs of one byte, and takes no longer for them',
  async (name) => {
    const target = EGRESS_TARGETS[name]?.()
    if (!target) throw new Error(`There is no reader "${name}"`)
    onTestFinished(() => target.close?.())
    const random = createRandom(2)
    const seeds = target.corpus.map(unhex)
    const made = Array.from({ length: RUNS }, () => runsIn(seeds, random)).flat()
    const wrong: string[] = []
    for (const each of made) {
      const problem = await problemOf(target, hex(each))
      if (problem !== undefined) wrong.push(`${problem}: ${hex(each).replace(/(..)\1{99,}/, '$1…')}`)
    }
    expect(wrong).toEqual([])
  },
)

test('OpenSSL, which ClientHellos are read beside, reads a plain one', async () => {
  expect(await readByOpenssl(PLAIN_HELLO)).toBe('good.example')
})
