// What is to hold on every runtime when control dies in a snapshot or in a fork: each is whole afterwards, or gone.

import { expect } from 'vitest'
import { pause } from '../../control/async.ts'
import type { Edge } from './edge.ts'
import { controlPid, killControl } from './kill-control.ts'
import { createSandbox, run } from './sandbox.ts'

/** When control is killed, in milliseconds after it was asked. */
const MOMENTS = [20, 140, 420]
const FORKS = 2

type Status = { id: string; status: { state: string; message?: string } }

/** Kills control at moments of snapshots and of forks. Leaves nothing of what it has made. */
export async function interruptSnapshots(edge: Edge): Promise<void> {
  const ask = async (method: string, path: string, body?: object) => {
    const answer = await fetch(`${edge.url}/v1${path}`, {
      method,
      headers: { 'content-type': 'application/json' },
      signal: AbortSignal.timeout(60_000),
      ...(body && { body: JSON.stringify(body) }),
    })
    const text = await answer.text()
    return { status: answer.status, body: (text === '' ? {} : JSON.parse(text)) as { items?: Status[] } }
  }
  const list = async (path: string) => (await ask('GET', `${path}?pageSize=200`)).body.items ?? []
  const sandbox = await createSandbox(edge)
  expect((await run(sandbox, 'head -c 24M /dev/urandom > large && sha256sum < large')).exitCode).toBe(0)
  for (const ms of MOMENTS) {
    const pid = controlPid(edge)
    const answers = [
      ask('POST', `/sandboxes/${sandbox.id}/snapshots`),
      ask('POST', `/sandboxes/${sandbox.id}/fork`, { count: FORKS, timeout: 600 }),
    ].map((answer) => answer.catch(() => undefined))
    await pause(ms, AbortSignal.timeout(60_000))
    await killControl(edge, pid)
    const [taken, forked] = await Promise.all(answers)
    // A snapshot that was acknowledged is there, and all that is there has an end.
    await expect
      .poll(async () => (await list('/snapshots')).map(({ status }) => status.state), { timeout: 30_000 })
      .not.toContain('Creating')
    const snapshots = await list('/snapshots')
    if (taken?.status === 202) expect(snapshots).toHaveLength(1)
    for (const { status } of snapshots)
      if (status.state === 'Failed') expect(status.message).toContain('The server was stopped')
    // A fork is all there or not at all; one that was acknowledged is.
    const wanted = forked?.status === 202 ? [1 + FORKS] : [1, 1 + FORKS]
    await expect
      .poll(
        async () => {
          const found = await list('/sandboxes')
          return wanted.includes(found.length) && found.every(({ status }) => status.state === 'Running')
        },
        { timeout: 30_000 },
      )
      .toBe(true)
    // Its source goes on, and what is Ready is whole.
    const sum = (await run(sandbox, 'sha256sum < large')).stdout
    const ready = snapshots.find(({ status }) => status.state === 'Ready')
    if (ready) {
      const made = await ask('POST', '/sandboxes', {
        snapshotId: ready.id,
        entrypoint: ['sh', '-c', `[ "$(sha256sum < /workspace/large)" = "${sum.trim()}" ] && exec sleep 600`],
        resourceLimits: { cpu: '1', memory: '256Mi' },
        timeout: 600,
      })
      expect(made.status, JSON.stringify(made.body)).toBe(202)
    }
    for (const { id } of await list('/sandboxes'))
      if (id !== sandbox.id) expect((await ask('DELETE', `/sandboxes/${id}`)).status).toBe(204)
    for (const { id } of await list('/snapshots'))
      expect((await ask('DELETE', `/snapshots/${id}`)).status).toBe(204)
  }
  await sandbox.kill()
  await sandbox.close()
}
