import { describe, expect, test } from 'vitest'
import { RuntimeError } from '../../../control/runtime/runtime.ts'
import { startFailure } from '../../../control/runtime/start-failure.ts'

const places = { dataDir: '/srv/osb', instance: { runDir: '/run/osb-1' } }

describe('startFailure()', () => {
  test.each([
    [
      `error mounting "/srv/osb/sandboxes/s1/exchange" of ${'ab'.repeat(32)}: not found`,
      'error mounting "…/sandboxes/s1/exchange" of …: not found',
    ],
    ['cannot pivot to "/run/osb-1/roots/s1"', 'cannot pivot to "…/roots/s1"'],
  ])('S24: says why, without ids of containers and places of this machine: %s', (message, told) => {
    expect(startFailure(new Error(message), places)).toMatchObject({
      failure: 'start_failed',
      message: `Cannot start the sandbox: ${told}`,
    })
  })

  test('a full disk is told as such, and what is explained already is left as it is', () => {
    expect(startFailure(new Error('write: no space left on device'), places)).toMatchObject({
      failure: 'no_space',
    })
    const known = new RuntimeError('unavailable', 'away')
    expect(startFailure(known, places)).toBe(known)
  })
})
