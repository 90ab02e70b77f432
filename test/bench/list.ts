// How long a page of the list takes when there are 10,000 sandboxes, asked as clients ask: through the whole API, with the
// filters that SDKs and the CLI send.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Store } from '../../control/store/sqlite.ts'
import { createControlApp, MIGRATIONS } from '../support/control-app.ts'
import { sandboxRow } from '../support/sandbox-row.ts'
import type { BenchRow } from './table.ts'

const ROWS = 10_000
const ROUNDS = 200
const BUDGET = { max: 10 }

export const title = `List of 20 out of ${ROWS} sandboxes, p50 and p99`

export async function run(): Promise<BenchRow[]> {
  const folder = mkdtempSync(join(tmpdir(), 'bench-list-'))
  const store = new Store({ path: join(folder, 'control.db'), migrationsDir: MIGRATIONS })
  for (let at = 0; at < ROWS; at++)
    store.insert(
      sandboxRow({
        id: `s${String(at).padStart(15, '0')}`,
        state: at % 10 === 0 ? 'Paused' : 'Running',
        metadata: { team: `team-${at % 100}`, purpose: 'bench', run: `r${at}` },
        entrypoint: ['tail', '-f', '/dev/null'],
        createdAt: 1_760_000_000_000 + at * 1000,
        expiresAt: 1_990_000_000_000,
      }),
    )
  const control = createControlApp({ store })
  try {
    const rows: BenchRow[] = []
    for (const [name, query] of [
      ['first page', ''],
      ['page 400', '?page=400'],
      ['by state', '?state=Paused'],
      ['by one label of 100 sandboxes', '?metadata=team%3Dteam-7'],
      ['by a label of all and one of 100', '?metadata=purpose%3Dbench%26team%3Dteam-7&state=Running'],
      ['by a label of all', '?metadata=purpose%3Dbench'],
    ] as const) {
      const times: number[] = []
      for (let round = 0; round < ROUNDS; round++) {
        const began = performance.now()
        const { status } = await control.call('GET', `/v1/sandboxes${query}`)
        times.push(performance.now() - began)
        if (status !== 200) throw new Error(`The list answered ${status}`)
      }
      times.sort((a, b) => a - b)
      rows.push({ name: `${name}, p50`, unit: 'ms', ours: times[ROUNDS / 2] ?? 0, budget: BUDGET })
      rows.push({ name: `${name}, p99`, unit: 'ms', ours: times[Math.floor(ROUNDS * 0.99)] ?? 0 })
    }
    return rows
  } finally {
    await control.close()
    rmSync(folder, { recursive: true, force: true })
  }
}
