// What the Docker runtime decides from values alone.

import { describe, expect, test } from 'vitest'
import { findMissing, rootOwnerOf } from '../../../control/runtime/docker/checks.ts'
import { decideState, exitCodeIn, type Found } from '../../../control/runtime/docker/container-state.ts'
import { chooseVersion, EngineRefusal, readFailure } from '../../../control/runtime/docker/engine.ts'
import { readEvent } from '../../../control/runtime/docker/events.ts'
import type { Machine } from '../../../control/runtime/machine.ts'

const RECORD = { address: '10.0.0.2', complete: true }

describe('decideState()', () => {
  test.each<[string, Omit<Found, 'id'>, object]>([
    [
      'a running one',
      { record: RECORD, container: { state: 'running' }, isRunning: true },
      { state: 'running', address: '10.0.0.2' },
    ],
    [
      'a frozen one',
      { record: RECORD, container: { state: 'paused' }, isRunning: true },
      { state: 'paused', address: '10.0.0.2' },
    ],
    ['one without a record', { container: { state: 'running' }, isRunning: false }, { state: 'incomplete' }],
    ['a record alone', { record: { ...RECORD, complete: false }, isRunning: false }, { state: 'incomplete' }],
    [
      'an interrupted create',
      { record: { ...RECORD, complete: false }, container: { state: 'created' }, isRunning: false },
      { state: 'incomplete' },
    ],
    [
      'an ordinary end',
      {
        record: RECORD,
        container: { state: 'exited', exitCode: 3 },
        isRunning: false,
        exit: { exitCode: 3 },
      },
      { state: 'exited', exitCode: 3 },
    ],
    [
      'an end that execd explains',
      {
        record: RECORD,
        container: { state: 'exited', exitCode: 1 },
        isRunning: false,
        exit: { exitCode: 126, message: 'why' },
      },
      { state: 'exited', exitCode: 126, message: 'why' },
    ],
    [
      'an end for memory',
      { record: RECORD, container: { state: 'exited', exitCode: 137, oomKilled: true }, isRunning: false },
      { state: 'exited', exitCode: 137, message: 'killed: out of memory' },
    ],
    [
      'a kill from outside',
      { record: RECORD, container: { state: 'exited', exitCode: 137 }, isRunning: false },
      {
        state: 'exited',
        exitCode: 137,
        message: 'ended from outside, or the Docker daemon or the machine was restarted',
      },
    ],
    [
      'a start from outside',
      { record: RECORD, container: { state: 'running' }, isRunning: false },
      { state: 'exited', exitCode: 137, message: 'its container was started again from outside' },
    ],
    [
      'a removal from outside',
      { record: RECORD, isRunning: false },
      { state: 'exited', exitCode: 137, message: 'its container was removed from outside' },
    ],
    [
      // The daemon is about to say so: what a container has become decides, not what its process still does.
      'one that is being removed while its process still runs',
      { record: RECORD, container: { state: 'removing' }, isRunning: true },
      { state: 'exited', exitCode: 137 },
    ],
  ])('%s', (_what, found, expected) => {
    expect(decideState({ id: 's', ...found })).toMatchObject({ id: 's', ...expected })
  })
})

test.each([
  ['Exited (0) 3 seconds ago', 0],
  ['Exited (137) Less than a second ago', 137],
  ['Up 3 minutes', undefined],
  ['Created', undefined],
  ['', undefined],
])('exitCodeIn("%s") is %s', (status, code) => {
  expect(exitCodeIn(status)).toBe(code)
})

describe('chooseVersion()', () => {
  test.each([
    ['1.41', '1.12', '1.41'],
    ['1.43', undefined, '1.43'],
    ['1.50', '1.24', '1.47'],
    ['1.9', '1.1', undefined],
    ['1.40', '1.12', undefined],
    ['2.0', '1.48', undefined],
  ])('of a daemon that speaks up to %s from %s on is %s', (newest, oldest, chosen) => {
    if (chosen !== undefined) expect(chooseVersion(newest, oldest)).toBe(chosen)
    else expect(() => chooseVersion(newest, oldest)).toThrow(/1\.4[17]/)
  })
})

describe('findMissing()', () => {
  const machine: Machine = { uid: 0, has: () => true, filesystems: '' }
  const info = { OSType: 'linux', SecurityOptions: ['name=seccomp,profile=default'], Runtimes: { runc: {} } }

  test('finds nothing on a machine that has all', () => {
    expect(findMissing(machine, info, undefined)).toEqual([])
    expect(findMissing(machine, info, 'runc')).toEqual([])
  })

  test.each<[string, Machine, object, string | undefined, RegExp]>([
    ['root', { ...machine, uid: 1000 }, {}, undefined, /Root is needed/],
    ['ip', { ...machine, has: (path) => !path.endsWith('/ip') }, {}, undefined, /iproute2/],
    ['Linux containers', machine, { OSType: 'windows' }, undefined, /windows containers/],
    ['a daemon of root', machine, { SecurityOptions: ['name=rootless'] }, undefined, /rootless/],
    [
      'a network for a runtime that takes its own',
      machine,
      { Runtimes: { secure: { path: '/usr/bin/runsc' } } },
      'secure',
      /could not be reached/,
    ],
    ['a runtime', machine, {}, 'runsc', /no runtime "runsc": it has runc/],
  ])('tells when there is no %s', (_what, on, change, runtime, told) => {
    const missing = findMissing(on, { ...info, ...change }, runtime)
    expect(missing).toHaveLength(1)
    expect(missing[0]).toMatch(told)
  })
})

test.each([
  [
    { SecurityOptions: ['name=seccomp'], DockerRootDir: '/var/lib/docker/100000.100000' },
    { uid: 0, gid: 0 },
  ],
  [
    { SecurityOptions: ['name=userns'], DockerRootDir: '/var/lib/docker/165536.231072' },
    { uid: 165_536, gid: 231_072 },
  ],
])('rootOwnerOf(%j) is %j', (info, owner) => {
  expect(rootOwnerOf(info)).toEqual(owner)
})

describe('readFailure()', () => {
  const system = (code: string) => Object.assign(new Error(`connect ${code} /run/docker.sock`), { code })

  test.each([
    [system('ECONNREFUSED'), undefined, /ECONNREFUSED/],
    [system('ENOENT'), undefined, /ENOENT/],
    [new Error('socket hang up'), undefined, /hung up/],
    [new Error('whatever'), 5000, /no answer within 5 seconds/],
  ])('%s is a daemon that does not answer', (error, lateMs, told) => {
    const failure = readFailure(error, lateMs)
    expect(failure).toMatchObject({ failure: 'unavailable', message: expect.stringMatching(told) })
    // Where its socket lies is nobody's business.
    expect(failure.message).not.toContain('/run/')
  })

  test('what the daemon refuses has its status and its words', () => {
    const refused = Object.assign(new Error('(HTTP code 409) unexpected - Conflict. The name is in use '), {
      statusCode: 409,
    })
    const failure = readFailure(refused)
    expect(failure).toBeInstanceOf(EngineRefusal)
    expect(failure).toMatchObject({ status: 409, message: 'Conflict. The name is in use' })
  })

  test('a bug stays what it is', () => {
    const bug = new TypeError('x is not a function')
    expect(readFailure(bug)).toBe(bug)
  })
})

test.each([
  [
    '{"Action":"die","Actor":{"Attributes":{"name":"a","l":"1"}}}',
    { type: 'ended', name: 'a', labels: { l: '1' } },
  ],
  ['{"Action":"pause","Actor":{"Attributes":{"name":"a"}}}', { type: 'changed', name: 'a', labels: {} }],
  ['{"Action":"unpause","Actor":{"Attributes":{"name":"a"}}}', { type: 'changed', name: 'a', labels: {} }],
  ['{"Action":"start","Actor":{"Attributes":{"name":"a"}}}', undefined],
  ['{"Action":"toString","Actor":{"Attributes":{"name":"a"}}}', undefined],
  ['{"Action":"die"}', undefined],
  ['{"Action":', undefined],
  ['', undefined],
])('readEvent(%s)', (line, event) => {
  expect(readEvent(line)).toEqual(event)
})
