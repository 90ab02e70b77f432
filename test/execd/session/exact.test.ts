// That what goes in comes out, always: many short sessions, and any bytes.

import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Daemon, startDaemon, withOnePing } from '../daemon.ts'
import { createSession, shellWord } from './session-client.ts'

/** More of them is for a person to run, by this variable. */
const ROUNDS = Number(process.env.SESSION_ROUNDS ?? 60)

let execd: Daemon
beforeAll(async () => {
  execd = await startDaemon()
})
afterAll(() => execd[Symbol.asyncDispose]())

test(
  `rapid rounds of a session, two runs and its end are exact, all ${ROUNDS}`,
  async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const session = await createSession(execd)
      const set = await session.run(`export V=value-${round}`)
      const get = await session.run('echo $V')
      const types = withOnePing(get.events).map(({ type }) => type)
      expect({ round, types, stdout: get.stdout, set: withOnePing(set.events).length }).toEqual({
        round,
        types: ['init', 'ping', 'stdout', 'execution_complete'],
        stdout: `value-${round}\n`,
        set: 3,
      })
      expect((await session.delete()).status).toBe(200)
    }
  },
  120_000 + ROUNDS * 200,
)

test('several clients with rounds of their own at once have exact answers too', async () => {
  await Promise.all(
    Array.from({ length: 4 }, async (_, client) => {
      for (let round = 0; round < 15; round++) {
        const session = await createSession(execd)
        await session.run(`V=${client}-${round}`)
        expect((await session.run('echo $V')).stdout).toBe(`${client}-${round}\n`)
        await session.delete()
      }
    }),
  )
}, 120_000)

/** Any text that a variable can hold, with more of what shells treat in a special way than chance would bring. */
const value = fc
  .array(
    fc.oneof(
      fc.string({ unit: 'binary', maxLength: 20 }),
      fc.constantFrom(
        "'",
        '"',
        '`',
        '$',
        '\\',
        '\n',
        '\r',
        '\t',
        ' ',
        '!',
        '$(',
        '${',
        '\x01',
        '\x7f',
        '\u0085',
        '\u2028',
      ),
    ),
    { maxLength: 30 },
  )
  .map((parts) => parts.join('').replaceAll('\0', ''))

test('B1: any value of a variable is the same in the next run, and in the next shell', async () => {
  const session = await createSession(execd)
  await fc.assert(
    fc.asyncProperty(value, value, async (one, two) => {
      await session.run(`export ONE=${shellWord(one)}; two=(x ${shellWord(two)})`)
      const print = `printf '%s|%s' "$ONE" "\${two[1]}"`
      expect((await session.run(print)).stdout).toBe(`${one}|${two}`)
      expect((await session.run('exit 1')).exitCode).toBe(1)
      expect((await session.run(print)).stdout).toBe(`${one}|${two}`)
    }),
    { numRuns: 40 },
  )
}, 120_000)

test('any text is printed as it is, through code of any form', async () => {
  const session = await createSession(execd)
  await fc.assert(
    fc.asyncProperty(value, value, async (out, err) => {
      const heredoc = `cat <<'END-OF-TEXT'\n${out}\nEND-OF-TEXT\ncat >&2 <<'END-OF-TEXT'\n${err}\nEND-OF-TEXT`
      const run = await session.run(heredoc)
      expect([run.stdout, run.stderr, run.exitCode]).toEqual([`${out}\n`, `${err}\n`, 0])
    }),
    { numRuns: 60 },
  )
}, 120_000)

test('any bytes are printed as they are', async () => {
  const session = await createSession(execd)
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), async (array) => {
      const octal = [...array].map((byte) => `\\${byte.toString(8).padStart(3, '0')}`).join('')
      const { events } = await session.run(`printf '${octal}'`)
      const bytes = events
        .filter(({ type }) => type === 'stdout')
        .map(({ text = '', bytes_base64 }) =>
          bytes_base64 === undefined ? Buffer.from(text) : Buffer.from(bytes_base64, 'base64'),
        )
      expect([...Buffer.concat(bytes)]).toEqual([...array])
    }),
    { numRuns: 60 },
  )
}, 120_000)
