import { expect, onTestFinished, test } from 'vitest'
import { runDeadlines } from '../../control/sandbox/deadlines.ts'
import { reconcile, runReconciler } from '../../control/sandbox/reconcile.ts'
import type { SandboxRow } from '../../control/store/rows.ts'
import { type ControlApp, type ControlAppOptions, createControlApp, MINIMAL } from '../support/control-app.ts'
import { sandboxRow } from '../support/sandbox-row.ts'
import { waitFor } from '../support/wait-for.ts'

function open(options: ControlAppOptions = {}): ControlApp {
  const control = createControlApp(options)
  onTestFinished(control.close)
  return control
}

/** A gate that calls of the runtime wait at, as long as it is closed; it gives way to their signal. */
function gate() {
  const opened = Promise.withResolvers<void>()
  const reached = Promise.withResolvers<AbortSignal>()
  return {
    reached: reached.promise,
    open: opened.resolve,
    wait: (signal: AbortSignal) => {
      reached.resolve(signal)
      return new Promise<void>((resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason), { once: true })
        void opened.promise.then(resolve)
      })
    },
  }
}

const stateOf = async (control: ControlApp, id: string) =>
  ((await control.call('GET', `/sandboxes/${id}`)).body.status as { state: string } | undefined)?.state

async function make(control: ControlApp, more: Record<string, unknown> = {}): Promise<string> {
  return String((await control.call('POST', '/sandboxes', { ...MINIMAL, ...more })).body.id)
}

test('the row stands before the runtime is asked, and shows as Pending', async () => {
  const control = open()
  const held = gate()
  control.runtime.before = (call, _id, signal) => (call === 'create' ? held.wait(signal) : undefined)
  const making = control.call('POST', '/sandboxes', MINIMAL)
  await held.reached
  const [pending] = control.store.all()
  expect(pending?.state).toBe('Pending')
  const early = await control.call('GET', `/sandboxes/${pending?.id}/endpoints/44772`)
  expect(early.status).toBe(200)
  held.open()
  expect((await making).body.id).toBe(pending?.id)
})

test('a hook before the entrypoint has its time beside that of the start', async () => {
  const control = open({ life: { createTimeoutMs: 20 } })
  const hooked = gate()
  const plain = gate()
  control.runtime.before = (call, id, signal) => {
    if (call !== 'create') return undefined
    return (control.store.get(id)?.env.OPENSANDBOX_LIFECYCLE ? hooked : plain).wait(signal)
  }
  const lifecycle = { preStart: { command: ['/init.sh'] } }
  const making = control.call('POST', '/sandboxes', { ...MINIMAL, lifecycle })
  await hooked.reached
  const late = await control.call('POST', '/sandboxes', MINIMAL)
  expect([late.status, late.body.message]).toEqual([500, 'The sandbox was not ready within 0.02 seconds'])
  hooked.open()
  expect((await making).status).toBe(202)
})

test('a create that takes long is answered Pending, and goes on by itself', async () => {
  const control = open({ life: { createAnswerMs: 20 } })
  const held = gate()
  control.runtime.before = (call, _id, signal) => (call === 'create' ? held.wait(signal) : undefined)
  const { status, body } = await control.call('POST', '/sandboxes', { ...MINIMAL, env: { SECRET: 'x' } })
  expect([status, body.status]).toEqual([202, expect.objectContaining({ state: 'Pending' })])
  held.open()
  await waitFor(async () => expect(await stateOf(control, String(body.id))).toBe('Running'))
  expect(control.store.get(String(body.id))?.env).toEqual({})
})

test('a create that fails after it was answered is Failed with its reason', async () => {
  const control = open({ life: { createAnswerMs: 20 } })
  const failed = Promise.withResolvers<void>()
  control.runtime.before = (call) => (call === 'create' ? failed.promise : undefined)
  const { body } = await control.call('POST', '/sandboxes', MINIMAL)
  failed.reject(new Error('inner words'))
  await waitFor(async () => expect(await stateOf(control, String(body.id))).toBe('Failed'))
  expect(control.store.get(String(body.id))).toMatchObject({
    reason: 'PROVISIONING_ERROR',
    message: 'The sandbox could not be started',
  })
})

test('a delete during create cancels it, and nothing is left', async () => {
  const control = open()
  const held = gate()
  control.runtime.before = (call, _id, signal) => (call === 'create' ? held.wait(signal) : undefined)
  const making = control.call('POST', '/sandboxes', MINIMAL)
  const signal = await held.reached
  const id = control.store.all()[0]?.id
  expect((await control.call('DELETE', `/sandboxes/${id}`)).status).toBe(204)
  expect(signal.aborted).toBe(true)
  expect((await making).body.code).toBe('DOCKER::SANDBOX_DELETED')
  expect(control.store.all()).toEqual([])
  expect(control.runtime.sandboxes.size).toBe(0)
})

test('a caller that leaves before the answer takes its sandbox with it', async () => {
  const control = open()
  const held = gate()
  control.runtime.before = (call, _id, signal) => (call === 'create' ? held.wait(signal) : undefined)
  const caller = new AbortController()
  const making = control.app.request('http://localhost/sandboxes', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(MINIMAL),
    signal: caller.signal,
  })
  await held.reached
  caller.abort()
  await making
  expect(control.store.all()).toEqual([])
  expect(control.runtime.sandboxes.size).toBe(0)
})

test('deletes that come together all succeed, with one removal', async () => {
  const control = open()
  const id = await make(control)
  const held = gate()
  control.runtime.before = (call, _id, signal) => (call === 'remove' ? held.wait(signal) : undefined)
  const deleting = Array.from({ length: 5 }, () => control.call('DELETE', `/sandboxes/${id}`))
  await held.reached
  expect(await stateOf(control, id)).toBe('Stopping')
  held.open()
  expect((await Promise.all(deleting)).map(({ status }) => status)).toEqual([204, 204, 204, 204, 204])
  expect(control.runtime.calls.filter((call) => call.startsWith('remove'))).toHaveLength(1)
})

test('pauses that come together: one wins, the others are told 409', async () => {
  const control = open()
  const id = await make(control)
  const answers = await Promise.all([1, 2, 3].map(() => control.call('POST', `/sandboxes/${id}/pause`)))
  expect(answers.map(({ status }) => status).sort()).toEqual([202, 409, 409])
})

test('pause, renew and patch of a sandbox that is being deleted', async () => {
  const control = open()
  const id = await make(control, { timeout: 600 })
  const held = gate()
  control.runtime.before = (call, _id, signal) => (call === 'remove' ? held.wait(signal) : undefined)
  const deleting = control.call('DELETE', `/sandboxes/${id}`)
  await held.reached
  const renewed = await control.call('POST', `/sandboxes/${id}/renew-expiration`, { expiresAt: '2099-01-01' })
  expect(renewed.status).toBe(409)
  const pausing = control.call('POST', `/sandboxes/${id}/pause`)
  held.open()
  expect((await deleting).status).toBe(204)
  // It waited for its turn, and there was nothing left to pause.
  expect((await pausing).status).toBe(404)
})

test('a delete that takes long is answered, counts as gone, and is finished', async () => {
  const control = open({ life: { deleteAnswerMs: 20 } })
  const id = await make(control)
  const held = gate()
  control.runtime.before = (call, _id, signal) => (call === 'remove' ? held.wait(signal) : undefined)
  expect((await control.call('DELETE', `/sandboxes/${id}`)).status).toBe(204)
  expect((await control.call('GET', `/sandboxes/${id}`)).status).toBe(404)
  expect((await control.call('GET', '/sandboxes')).body.items).toEqual([])
  expect(control.store.get(id)).toMatchObject({ state: 'Stopping', hidden: true })
  held.open()
  await waitFor(() => expect(control.store.all()).toEqual([]))
})

test('a removal that fails answers 500, stays Stopping, and the next pass finishes it', async () => {
  const control = open()
  const id = await make(control)
  control.runtime.before = (call) => {
    if (call === 'remove') throw new Error('device busy')
  }
  const answer = await control.call('DELETE', `/sandboxes/${id}`)
  expect([answer.status, answer.body.code]).toEqual([500, 'DOCKER::SANDBOX_DELETE_FAILED'])
  expect(await stateOf(control, id)).toBe('Stopping')
  control.runtime.before = () => {}
  await reconcile(control.lives)
  expect(control.store.all()).toEqual([])
  expect(control.runtime.sandboxes.size).toBe(0)
})

test('the end of an entrypoint becomes Terminated or Failed', async () => {
  const control = open()
  const [good, bad, killed] = [await make(control), await make(control), await make(control)]
  const loop = runReconciler(control.lives)
  await waitFor(() => {
    control.runtime.exit(good, 0)
    control.runtime.exit(bad, 3)
    control.runtime.exit(killed, 137, 'killed: out of memory')
    expect(control.store.get(killed)?.state).toBe('Failed')
  })
  const statuses = await Promise.all(
    [good, bad, killed].map(async (id) => (await control.call('GET', `/sandboxes/${id}`)).body.status),
  )
  expect(statuses).toMatchObject([
    { state: 'Terminated', reason: 'CONTAINER_EXITED' },
    { state: 'Failed', reason: 'CONTAINER_EXITED_ERROR', message: 'The entrypoint ended with code 3' },
    { state: 'Failed', reason: 'CONTAINER_EXITED_ERROR', message: 'killed: out of memory' },
  ])
  expect((await control.call('POST', `/sandboxes/${bad}/pause`)).status).toBe(409)
  expect((await control.call('DELETE', `/sandboxes/${bad}`)).status).toBe(204)
  await control.close()
  await loop
})

test('who is paused from outside, and goes on, is so at once', async () => {
  const control = open()
  const id = await make(control)
  const loop = runReconciler(control.lives, { everyMs: 3_600_000 })
  for (const [real, state] of [
    ['paused', 'Paused'],
    ['running', 'Running'],
  ] as const)
    await waitFor(async () => {
      control.runtime.turn(id, real)
      expect(await stateOf(control, id)).toBe(state)
    })
  await control.close()
  await loop
})

test('what is told of a pause counts as it is once the sandbox is free, not as it was', async () => {
  const control = open()
  const id = await make(control)
  const loop = runReconciler(control.lives, { everyMs: 3_600_000 })
  await waitFor(async () => {
    control.runtime.turn(id, 'paused')
    expect(await stateOf(control, id)).toBe('Paused')
  })
  const held = gate()
  control.runtime.before = (call, _id, signal) => (call === 'resume' ? held.wait(signal) : undefined)
  const resuming = control.call('POST', `/sandboxes/${id}/resume`)
  await held.reached
  control.runtime.turn(id, 'paused')
  held.open()
  expect((await resuming).status).toBe(202)
  await waitFor(async () => expect(await stateOf(control, id)).toBe('Running'))
  // Whoever comes next has waited for what was told.
  await control.lives.turns.take(id, async () => {})
  expect(await stateOf(control, id)).toBe('Running')
  await control.close()
  await loop
})

test('a runtime that was away and is back is looked at as a whole, at once', async () => {
  const control = open()
  const id = await make(control)
  let looked = 0
  control.runtime.before = (call) => {
    if (call === 'list') looked++
  }
  const loop = runReconciler(control.lives, { everyMs: 3_600_000 })
  await waitFor(() => expect(looked).toBe(1))
  control.runtime.sandboxes.delete(id)
  control.runtime.comeBack()
  await waitFor(() => expect(control.store.get(id)?.state).toBe('Failed'))
  expect(looked).toBe(2)
  await control.close()
  await loop
})

const ID = 'aaaaaaaaaaaaaaaa'
const RECONCILED: [
  string,
  Partial<SandboxRow> | undefined,
  string | undefined,
  string | undefined,
  boolean,
][] = [
  // what, row before, the runtime's state, the row's state after, whether the runtime still has it
  ['running that is lost', {}, undefined, 'Failed', false],
  ['running of which a part is left', {}, 'incomplete', 'Failed', false],
  ['running that has ended', {}, 'exited', 'Failed', true],
  ['running that is paused', {}, 'paused', 'Paused', true],
  ['paused that runs', { state: 'Paused' }, 'running', 'Running', true],
  ['pausing, not yet done', { state: 'Pausing' }, 'running', 'Running', true],
  ['pausing, done', { state: 'Pausing' }, 'paused', 'Paused', true],
  ['resuming, not yet done', { state: 'Resuming' }, 'paused', 'Paused', true],
  ['resuming, done', { state: 'Resuming' }, 'running', 'Running', true],
  ['pending of a dead process, nothing begun', { state: 'Pending' }, undefined, undefined, false],
  ['pending of a dead process, half made', { state: 'Pending' }, 'incomplete', undefined, false],
  ['pending of a dead process, made', { state: 'Pending' }, 'running', undefined, false],
  ['pending that was acknowledged', { state: 'Pending', acknowledged: true }, 'incomplete', 'Running', true],
  [
    'pending that needs credentials',
    { state: 'Pending', acknowledged: true, hasImageAuth: true },
    'incomplete',
    'Failed',
    false,
  ],
  ['stopping, not begun', { state: 'Stopping' }, 'running', undefined, false],
  ['stopping, done but for the row', { state: 'Stopping', hidden: true }, undefined, undefined, false],
  ['failed with something left', { state: 'Failed' }, 'incomplete', 'Failed', false],
  ['failed with its files', { state: 'Failed' }, 'exited', 'Failed', true],
  ['no row: an orphan', undefined, 'running', undefined, false],
  ['no row: half an orphan', undefined, 'incomplete', undefined, false],
]
test.each(RECONCILED)('reconcile: %s', async (_what, before, real, after, isLeft) => {
  const control = open()
  if (before) control.store.insert(sandboxRow(before))
  if (real) {
    const state = real as 'running'
    control.runtime.sandboxes.set(ID, {
      id: ID,
      state,
      address: '10.88.0.10',
      ...(real === 'exited' && { exitCode: 1 }),
    })
  }
  await reconcile(control.lives)
  await control.lives.turns.idle()
  expect(control.store.get(ID)?.state).toBe(after)
  expect(control.runtime.sandboxes.has(ID)).toBe(isLeft)
  const calls = control.runtime.calls.length
  await reconcile(control.lives)
  // Once it agrees, a second pass has nothing to do.
  expect(control.runtime.calls.length).toBe(calls)
})

test('reconcile takes a new address with a new generation, so that no old connection is used', async () => {
  const control = open()
  control.store.insert(sandboxRow())
  control.runtime.sandboxes.set(ID, { id: ID, state: 'running', address: '10.88.0.77' })
  await reconcile(control.lives)
  expect(control.store.get(ID)).toMatchObject({ state: 'Running', address: '10.88.0.77', generation: 2 })
})

test('reconcile leaves a create alone that is going on', async () => {
  const control = open()
  const held = gate()
  control.runtime.before = (call, _id, signal) => (call === 'create' ? held.wait(signal) : undefined)
  const making = control.call('POST', '/sandboxes', MINIMAL)
  await held.reached
  await reconcile(control.lives)
  held.open()
  expect((await making).status).toBe(202)
  expect(control.runtime.sandboxes.size).toBe(1)
})

test('a pause that failed although the runtime did it is found out', async () => {
  const control = open()
  const id = await make(control)
  const loop = runReconciler(control.lives)
  const pause = control.runtime.pause
  control.runtime.pause = async (...args) => {
    await pause(...args)
    throw new Error('the answer was lost')
  }
  expect((await control.call('POST', `/sandboxes/${id}/pause`)).status).toBe(500)
  await waitFor(async () => expect(await stateOf(control, id)).toBe('Paused'))
  await control.close()
  await loop
})

test('reconcile ends what only the rules outside still know of', async () => {
  const control = open()
  control.runtime.sandboxes.set('unknown', { id: 'unknown', state: 'incomplete' })
  await reconcile(control.lives)
  expect(control.runtime.calls).toContain('remove unknown')
})

test('ends are written down while the removal of another sandbox takes long', async () => {
  const control = open()
  const [slow, other] = [await make(control), await make(control)]
  const held = gate()
  control.runtime.before = (call, id, signal) =>
    call === 'remove' && id === slow ? held.wait(signal) : undefined
  const stop = new AbortController()
  const running = runReconciler({ ...control.lives, signal: stop.signal })
  const deleting = control.call('DELETE', `/sandboxes/${slow}`)
  await held.reached
  await waitFor(async () => {
    control.runtime.exit(slow, 0)
    control.runtime.exit(other, 3)
    expect(await stateOf(control, other)).toBe('Failed')
  })
  held.open()
  expect((await deleting).status).toBe(204)
  stop.abort()
  await running
})

test('reconcile goes on with the others when one sandbox makes trouble', async () => {
  const control = open()
  control.runtime.sandboxes.set('bad', { id: 'bad', state: 'running' })
  control.runtime.sandboxes.set('good', { id: 'good', state: 'running' })
  control.runtime.before = (call, id) => {
    if (call === 'remove' && id === 'bad') throw new Error('busy')
  }
  await reconcile(control.lives)
  expect([...control.runtime.sandboxes.keys()]).toEqual(['bad'])
})

test('a sandbox whose time is over is removed and is 404 from then on', async () => {
  const control = open()
  const id = await make(control, { timeout: 60 })
  const other = await make(control, { timeout: 600 })
  const loop = runDeadlines(control.lives)
  control.store.update(id, { expiresAt: Date.now() + 30 })
  await waitFor(() => expect(control.store.get(id)).toBeUndefined())
  expect(control.runtime.sandboxes.has(id)).toBe(false)
  expect(await stateOf(control, other)).toBe('Running')
  await control.close()
  await loop
})

test('an expiry shows as gone at once, also while the removal takes its time', async () => {
  const control = open()
  const id = await make(control, { timeout: 60 })
  const held = gate()
  control.runtime.before = (call, _id, signal) => (call === 'remove' ? held.wait(signal) : undefined)
  const loop = runDeadlines(control.lives)
  control.store.update(id, { expiresAt: Date.now() - 1 })
  await held.reached
  expect((await control.call('GET', `/sandboxes/${id}`)).status).toBe(404)
  const late = await control.call('POST', `/sandboxes/${id}/renew-expiration`, { expiresAt: '2099-01-01' })
  expect(late.status).toBe(404)
  held.open()
  await waitFor(() => expect(control.store.all()).toEqual([]))
  await control.close()
  await loop
})

test('an expiry counts at once, whatever still has the turn; a renewal before it wins', async () => {
  const control = open()
  const [renewed, over] = [await make(control, { timeout: 60 }), await make(control, { timeout: 60 })]
  const held = gate()
  control.runtime.before = (call, _id, signal) => (call === 'pause' ? held.wait(signal) : undefined)
  const pausing = [renewed, over].map((id) => control.call('POST', `/sandboxes/${id}/pause`))
  await held.reached
  for (const id of [renewed, over]) control.store.update(id, { expiresAt: Date.now() - 1 })
  const renew = (id: string) =>
    control.call('POST', `/sandboxes/${id}/renew-expiration`, {
      expiresAt: new Date(Date.now() + 600_000).toISOString(),
    })
  expect((await renew(renewed)).status).toBe(200)
  const loop = runDeadlines(control.lives)
  await waitFor(async () => expect(await stateOf(control, over)).toBeUndefined())
  expect((await renew(over)).status).toBe(404)
  held.open()
  await Promise.all(pausing)
  await waitFor(() => expect(control.store.get(over)).toBeUndefined())
  expect(await stateOf(control, renewed)).toBe('Paused')
  await control.close()
  await loop
})

test('D7: a deletion that was answered while something else had the turn is finished by the next start', async () => {
  const control = open({ life: { deleteAnswerMs: 20 } })
  const id = await make(control)
  const held = gate()
  control.runtime.before = (call, _id, signal) => (call === 'pause' ? held.wait(signal) : undefined)
  const pausing = control.call('POST', `/sandboxes/${id}/pause`)
  await held.reached
  expect((await control.call('DELETE', `/sandboxes/${id}`)).status).toBe(204)
  // What a start after SIGKILL would find at this moment.
  expect(control.store.get(id)).toMatchObject({ state: 'Stopping', hidden: true })
  held.open()
  await pausing
  await waitFor(() => expect(control.store.all()).toEqual([]))
  expect(control.runtime.sandboxes.size).toBe(0)
})

test('a failed start whose remains take long to remove is Failed for whoever was told of it meanwhile', async () => {
  const control = open({ life: { createAnswerMs: 20 } })
  const held = gate()
  control.runtime.before = (call, _id, signal) => {
    if (call === 'create') throw new Error('broken')
    return call === 'remove' ? held.wait(signal) : undefined
  }
  const { body } = await control.call('POST', '/sandboxes', MINIMAL)
  expect(body.status).toMatchObject({ state: 'Pending' })
  held.open()
  await control.lives.turns.idle()
  expect(await stateOf(control, String(body.id))).toBe('Failed')
})

test('D6: what a failed create has begun is undone, and tried again when that fails, too', async () => {
  const control = open()
  const loop = runReconciler(control.lives)
  let failures = 2
  control.runtime.before = (call, id) => {
    if (call === 'create') throw new Error('broken')
    // The runtime has not kept its promise to leave nothing.
    if (call === 'remove' && failures-- > 0) {
      control.runtime.sandboxes.set(id, { id, state: 'incomplete' })
      throw new Error('busy')
    }
  }
  expect((await control.call('POST', '/sandboxes', MINIMAL)).status).toBe(500)
  expect((await control.call('GET', '/sandboxes')).body.items).toEqual([])
  await waitFor(() => expect([control.store.all(), control.runtime.sandboxes.size]).toEqual([[], 0]))
  await control.close()
  await loop
})

test('a start that was interrupted is not made up for once the sandbox has been deleted', async () => {
  const control = open()
  control.store.insert(sandboxRow({ state: 'Pending', acknowledged: true }))
  control.runtime.sandboxes.set(ID, { id: ID, state: 'incomplete' })
  const held = gate()
  control.runtime.before = (call, _id, signal) => (call === 'inspect' ? held.wait(signal) : undefined)
  const pass = reconcile(control.lives)
  await held.reached
  const deleting = control.call('DELETE', `/sandboxes/${ID}`)
  held.open()
  expect((await deleting).status).toBe(204)
  await pass
  await control.lives.turns.idle()
  expect(control.runtime.calls).not.toContain(`create ${ID}`)
  expect(control.runtime.sandboxes.size).toBe(0)
})

test('the events of a create that failed before it was answered end with it', async () => {
  const control = open()
  control.runtime.before = (call) => {
    if (call === 'create') throw new Error('broken')
  }
  expect((await control.call('POST', '/sandboxes', MINIMAL)).status).toBe(500)
  const events = control.store.events.after(0, { limit: 10 })
  expect(events.map(({ type, state }) => [type, state])).toEqual([
    ['created', 'Pending'],
    ['state', 'Pending'],
    ['deleted', 'Pending'],
  ])
  expect(control.store.past(events[0]?.sandboxId ?? '')).toBeUndefined()
})

test('an expiry that comes while a sandbox is still pending cancels its start', async () => {
  const control = open({ life: { createAnswerMs: 10 } })
  const held = gate()
  control.runtime.before = (call, _id, signal) => (call === 'create' ? held.wait(signal) : undefined)
  const { body } = await control.call('POST', '/sandboxes', { ...MINIMAL, timeout: 60 })
  const loop = runDeadlines(control.lives)
  control.store.update(String(body.id), { expiresAt: Date.now() - 1 })
  await waitFor(() => expect(control.store.all()).toEqual([]))
  expect(control.runtime.sandboxes.size).toBe(0)
  await control.close()
  await loop
})

test('many deadlines at once are all kept', async () => {
  const control = open()
  for (let at = 0; at < 250; at++) {
    const id = `s${at}`
    control.store.insert(sandboxRow({ id, expiresAt: Date.now() - 1 }))
    control.runtime.sandboxes.set(id, { id, state: 'running' })
  }
  const loop = runDeadlines(control.lives)
  await waitFor(() => expect(control.store.all()).toEqual([]))
  expect(control.runtime.sandboxes.size).toBe(0)
  await control.close()
  await loop
})

test('an expired sandbox that cannot be removed is not asked for again and again', async () => {
  const control = open()
  const id = await make(control, { timeout: 60 })
  control.runtime.before = (call) => {
    if (call === 'remove') throw new Error('busy')
  }
  const loop = runDeadlines(control.lives)
  control.store.update(id, { expiresAt: Date.now() - 1 })
  await waitFor(() => expect(control.store.get(id)?.state).toBe('Stopping'))
  await control.close()
  await loop
  expect(control.runtime.calls.filter((call) => call.startsWith('remove'))).toHaveLength(1)
})
