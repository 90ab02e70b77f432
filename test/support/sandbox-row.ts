import type { SandboxRow } from '../../control/store/sqlite.ts'

/** A row of a running sandbox, with what a test wants otherwise. */
export function sandboxRow(change: Partial<SandboxRow> = {}): SandboxRow {
  return {
    id: 'aaaaaaaaaaaaaaaa',
    state: 'Running',
    reason: null,
    message: null,
    acknowledged: false,
    hidden: false,
    image: 'debian',
    entrypoint: ['sleep'],
    env: {},
    hasImageAuth: false,
    metadata: {},
    extensions: {},
    platform: null,
    limits: {},
    mounts: [],
    networkPolicy: null,
    execdToken: 'e',
    egressToken: 'g',
    address: '10.88.0.10',
    generation: 1,
    createdAt: 1,
    expiresAt: null,
    lastTransitionAt: 1,
    ...change,
  }
}
