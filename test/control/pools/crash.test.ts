// Control killed with SIGKILL at many moments while sandboxes are claimed and pools are filled: what was given out is there and
// was given to one alone, and the pool is whole again with nothing left over.

import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { startControlProcess } from '../../support/control-process.ts'
import { waitFor } from '../../support/wait-for.ts'
import { byPool, capacity, SHAPE, type Status } from './support.ts'

const CREATE_MS = 20
const MOMENTS = 10
const WARM = 4

const post = (url: string, body: unknown) =>
  fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) })

test(`SIGKILL at ${MOMENTS} moments of claims`, async () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'pool-crash-'))
  onTestFinished(() => rmSync(dataDir, { recursive: true, force: true, maxRetries: 3 }))
  const existing = () => readdirSync(join(dataDir, 'sandboxes')).filter((name) => !name.endsWith('.new'))
  let control = await startControlProcess(dataDir, CREATE_MS)
  const made = await post(`${control.url}/pools`, {
    name: 'p',
    template: SHAPE,
    capacitySpec: capacity(WARM),
  })
  expect(made.status).toBe(201)
  const given: string[] = []
  for (let moment = 0; moment < MOMENTS; moment++) {
    const claims = Array.from({ length: 6 }, async () => {
      const answer = await post(`${control.url}/sandboxes`, byPool('p'))
      if (answer.status === 202) given.push(((await answer.json()) as { id: string }).id)
    })
    const settled = Promise.allSettled(claims)
    await new Promise((resolve) => setTimeout(resolve, moment * 4))
    await control.kill('SIGKILL')
    await settled
    control = await startControlProcess(dataDir, CREATE_MS)
    await waitFor(
      async () => {
        const pool = (await (await fetch(`${control.url}/pools/p`)).json()) as { status: Status }
        expect(pool.status).toMatchObject({ available: WARM, total: pool.status.allocated + WARM })
        const list = (await (await fetch(`${control.url}/sandboxes?pageSize=200`)).json()) as {
          items: { id: string; status: { state: string } }[]
        }
        const known = list.items.map(({ id }) => id)
        expect(new Set(given).size).toBe(given.length)
        expect(known).toEqual(expect.arrayContaining(given))
        expect(new Set(list.items.map(({ status }) => status.state)).size).toBeLessThanOrEqual(1)
        expect(pool.status.allocated).toBe(known.length)
        expect(existing()).toHaveLength(known.length + WARM)
      },
      { interval: 100 },
    )
  }
  await control.kill('SIGKILL')
}, 240_000)
