// Control over a fake runtime, with the keeper of snapshots at work.

import { onTestFinished } from 'vitest'
import type { Snapshot } from '../../../lib/api/snapshots.ts'
import {
  type ControlApp,
  type ControlAppOptions,
  createControlApp,
  MINIMAL,
} from '../../support/control-app.ts'
import { waitFor } from '../../support/wait-for.ts'

export function openSnapshots(options: ControlAppOptions = {}): ControlApp {
  const control = createControlApp({ runsPooling: true, ...options })
  onTestFinished(() => control.close())
  return control
}

/** A running sandbox, by its id. */
export async function sandboxOf(control: ControlApp, more: object = {}, headers = {}): Promise<string> {
  const made = await control.call('POST', '/v1/sandboxes', { ...MINIMAL, ...more }, headers)
  if (made.status !== 202) throw new Error(made.text)
  return String(made.body.id)
}

export async function take(
  control: ControlApp,
  sandbox: string,
  body: object = {},
  headers = {},
): Promise<string> {
  const taken = await control.call('POST', `/v1/sandboxes/${sandbox}/snapshots`, body, headers)
  if (taken.status !== 202) throw new Error(taken.text)
  return String(taken.body.id)
}

export const read = async (control: ControlApp, id: string, headers = {}) =>
  (await control.call('GET', `/v1/snapshots/${id}`, undefined, headers)).body as unknown as Snapshot

/** The snapshot once it is in this state. */
export async function until(
  control: ControlApp,
  id: string,
  state: Snapshot['status']['state'],
): Promise<Snapshot> {
  return await waitFor(
    async () => {
      const snapshot = await read(control, id)
      if (snapshot.status?.state !== state) throw new Error(`It is ${snapshot.status?.state}`)
      return snapshot
    },
    { interval: 5 },
  )
}

/** A snapshot that is Ready. */
export async function ready(
  control: ControlApp,
  sandbox: string,
  body: object = {},
  headers = {},
): Promise<string> {
  const id = await take(control, sandbox, body, headers)
  await waitFor(
    async () => {
      const { status } = await read(control, id, headers)
      if (status.state !== 'Ready') throw new Error(`It is ${status.state}`)
    },
    { interval: 5 },
  )
  return id
}
