import { expect, onTestFinished, test } from 'vitest'
import { RoutesFeed } from '../../control/routes-feed.ts'
import { pauseIdleSandbox } from '../../control/sandbox/change.ts'
import { mayWake, wakeSandbox } from '../../control/sandbox/wake-on-request.ts'
import { createControlApp, MINIMAL } from '../support/control-app.ts'

test.each([
  ['Paused', 'IDLE', null, 'idle', true],
  ['Pausing', 'IDLE', null, 'idle', true],
  ['Paused', 'CONTAINER_PAUSED', null, 'idle', false],
  ['Paused', 'CONTAINER_PAUSED', null, 'always', true],
  ['Paused', 'CONTAINER_PAUSED', 'always', 'never', true],
  ['Paused', 'IDLE', null, 'never', false],
  ['Paused', 'IDLE', 'never', 'always', false],
  ['Resuming', null, null, 'never', true],
  ['Running', 'IDLE', null, 'always', false],
  ['Stopping', 'IDLE', null, 'always', false],
  ['Failed', 'IDLE', null, 'always', false],
] as const)('%s for %s, own mode %s, configured %s: %s', (state, reason, wake, configured, may) => {
  expect(mayWake({ state, reason, wake, hidden: false }, configured)).toBe(may)
  expect(mayWake({ state, reason, wake, hidden: true }, configured)).toBe(false)
})

async function open(wake: 'never' | 'idle' | 'always', extensions: Record<string, string> = {}) {
  const control = createControlApp({ life: { wake, wakeTimeoutMs: 5000 } })
  const feed = new RoutesFeed({ store: control.store, policySocket: '/p', wake })
  onTestFinished(async () => {
    feed[Symbol.dispose]()
    await control.close()
  })
  const made = await control.call('POST', '/sandboxes', { ...MINIMAL, extensions })
  const id = String(made.body.id)
  return { ...control, id, feed, state: () => control.store.get(id)?.state }
}

test('many who wake a paused sandbox resume it once, and it says what woke it', async () => {
  const { lives, id, call, feed, runtime, store, state } = await open('always')
  await call('POST', `/sandboxes/${id}/pause`)
  expect(feed.get(id)).toMatchObject({ state: 'paused', wakes: true })
  await Promise.all([wakeSandbox(lives, id), wakeSandbox(lives, id), wakeSandbox(lives, id)])
  expect(state()).toBe('Running')
  expect(store.get(id)?.reason).toBe('WOKEN')
  expect(runtime.calls.filter((each) => each.startsWith('resume'))).toHaveLength(1)
  expect(feed.get(id)).not.toHaveProperty('wakes')
})

test('one that was paused by hand stays so, and one that was paused as idle does not', async () => {
  const { lives, id, call, feed, store, state } = await open('idle', { 'access.idle.pause.seconds': '60' })
  await call('POST', `/sandboxes/${id}/pause`)
  expect(feed.get(id)).not.toHaveProperty('wakes')
  await expect(wakeSandbox(lives, id)).rejects.toMatchObject({
    status: 409,
    code: 'DOCKER::SANDBOX_NOT_RUNNING',
  })
  expect(state()).toBe('Paused')
  await call('POST', `/sandboxes/${id}/resume`)
  store.update(id, { activeAt: 1 })
  await pauseIdleSandbox(lives, id)
  expect(feed.get(id)).toMatchObject({ state: 'paused', wakes: true })
  await wakeSandbox(lives, id)
  expect(state()).toBe('Running')
  // And it is not paused again at once.
  await pauseIdleSandbox(lives, id)
  expect(state()).toBe('Running')
})

test('one that could not be resumed is as it was, and the next request tries again', async () => {
  const { lives, id, feed, store, runtime, state } = await open('idle', { 'access.idle.pause.seconds': '60' })
  store.update(id, { activeAt: 1 })
  await pauseIdleSandbox(lives, id)
  runtime.before = (call) => {
    if (call === 'resume') throw new Error('no')
  }
  await expect(wakeSandbox(lives, id)).rejects.toMatchObject({ code: 'DOCKER::SANDBOX_RESUME_FAILED' })
  expect(feed.get(id)).toMatchObject({ state: 'paused', wakes: true })
  runtime.before = () => {}
  await wakeSandbox(lives, id)
  expect(state()).toBe('Running')
})

test('there is nothing to wake of a sandbox that is not there', async () => {
  const { lives } = await open('always')
  await expect(wakeSandbox(lives, 'nobody')).rejects.toMatchObject({ status: 404 })
})
