import { describe, expect, test } from 'vitest'
import { RuntimeError } from '../../../control/runtime/runtime.ts'
import { startFailure } from '../../../control/runtime/start-failure.ts'

const places = {
  dataDir: '/srv/osb',
  instance: { runDir: '/run/osb-1' },
  config: { runtime: { images: { mine: '/home/ann/mine.tar', python: 'python:3.12' } } },
}

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

  test.each([
    [
      'image_not_found',
      'Image "mine" is "/home/ann/mine.tar" by the configuration',
      'Image "mine" is "…" by the configuration',
    ],
    [
      'image_pull_failed',
      'Cannot unpack image "python:3.12": umoci: /srv/osb/images/x: no such file',
      'Cannot unpack image "python:3.12": umoci: …/images/x: no such file',
    ],
    // In the sandbox it may be the name of something else.
    ['entrypoint_failed', '"/srv/osb/run" is not there', '"/srv/osb/run" is not there'],
  ] as const)(
    'S24: of an image is told without where it lies on this machine: %s',
    (failure, message, told) => {
      expect(startFailure(new RuntimeError(failure, message), places)).toMatchObject({
        failure,
        message: told,
      })
    },
  )
})
