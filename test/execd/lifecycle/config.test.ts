import { describe, expect, test } from 'vitest'
import { parseHooks } from '../../../execd/lifecycle/config.ts'

const HOOK = { command: ['/init.sh', '-v'] }
const PERIODIC = { name: 'sync', schedule: '@every 30s', command: ['/sync.sh'] }

describe('parseHooks()', () => {
  test.each([
    ['{}', { periodic: [] }],
    ['{"preStart":null,"periodic":null}', { periodic: [] }],
    [
      JSON.stringify({ preStart: HOOK }),
      { preStart: { name: 'preStart', command: ['/init.sh', '-v'], timeoutMs: 60_000 }, periodic: [] },
    ],
    [
      JSON.stringify({
        preStart: { ...HOOK, timeoutSeconds: 10_800 },
        periodic: [{ ...PERIODIC, name: ' sync ' }],
      }),
      {
        preStart: { name: 'preStart', command: ['/init.sh', '-v'], timeoutMs: 10_800_000 },
        periodic: [
          { name: 'sync', command: ['/sync.sh'], timeoutMs: 60_000, schedule: { kind: 'every', ms: 30_000 } },
        ],
      },
    ],
    [
      JSON.stringify({ periodic: [{ ...PERIODIC, timeoutSeconds: 300 }] }),
      {
        periodic: [
          {
            name: 'sync',
            command: ['/sync.sh'],
            timeoutMs: 300_000,
            schedule: { kind: 'every', ms: 30_000 },
          },
        ],
      },
    ],
  ])('reads %s', (text, expected) => {
    expect(parseHooks(text)).toEqual(expected)
  })

  test.each([
    ['{', 'are not valid JSON'],
    ['[]', 'must be a JSON object'],
    ['"x"', 'must be a JSON object'],
    ['{"preStart":[]}', '"preStart" must be an object: found []'],
    [
      '{"preStart":{"command":[]}}',
      '"preStart.command" must be a list of texts that begins with a program: found []',
    ],
    ['{"preStart":{"command":[" "]}}', '"preStart.command"'],
    ['{"preStart":{"command":["a",1]}}', '"preStart.command"'],
    ['{"preStart":{"command":["a\\u0000"]}}', '"preStart.command"'],
    ['{"preStart":{"command":"a"}}', '"preStart.command"'],
    [
      '{"preStart":{"command":["a"],"timeoutSeconds":10801}}',
      '"preStart.timeoutSeconds" must be an integer from 1 to 10800: found 10801',
    ],
    ['{"preStart":{"command":["a"],"timeoutSeconds":0}}', '"preStart.timeoutSeconds"'],
    ['{"preStart":{"command":["a"],"timeoutSeconds":1.5}}', '"preStart.timeoutSeconds"'],
    ['{"periodic":{}}', '"periodic" must be a list of at most 100 hooks: found {}'],
    ['{"periodic":[1]}', '"periodic[0]" must be an object: found 1'],
    [
      JSON.stringify({ periodic: [{ ...PERIODIC, timeoutSeconds: 301 }] }),
      '"periodic[0].timeoutSeconds" must be an integer from 1 to 300: found 301',
    ],
    [
      JSON.stringify({ periodic: [{ ...PERIODIC, name: ' ' }] }),
      '"periodic[0].name" must be a text that is not blank',
    ],
    [
      JSON.stringify({ periodic: [{ ...PERIODIC, schedule: '* *' }] }),
      '"periodic[0].schedule" must be five cron fields',
    ],
    [
      JSON.stringify({ periodic: [PERIODIC, { ...PERIODIC, name: 'sync ' }] }),
      '"periodic" must have unique names',
    ],
  ])('refuses %s: %s', (text, message) => {
    expect(() => parseHooks(text)).toThrow(message)
  })

  test('names every problem at once', () => {
    const text = '{"preStart":{"command":[]},"periodic":[{"name":"a","schedule":"x","command":["b"]}]}'
    expect(() => parseHooks(text)).toThrow(/preStart\.command.*; "periodic\[0\]\.schedule"/)
  })
})
