// The pieces around Sandboxes, without a kernel and without a disk.

import { Flows } from '../../egress/connections/flows.ts'
import { Nft } from '../../egress/nft/apply.ts'
import { DecisionRecord } from '../../egress/record.ts'
import type { SandboxFiles, StoredSandbox } from '../../egress/sandbox-files.ts'
import { Sandboxes } from '../../egress/sandboxes.ts'
import { SandboxVaults } from '../../egress/vault/sandbox-vaults.ts'
import { createSilentLogger } from '../../lib/log.ts'

export const BASE = {
  table: 'opensandbox_ab12',
  interfacePrefix: 'osbab12',
  subnet: '10.88.0.0/16',
  gateway: '10.88.0.1',
  dnsPort: 53,
  relayPort: 3129,
  mark: 7,
}

export function createFakeKernel({ flows = new Flows({ perSandbox: 2, total: 3 }) } = {}) {
  const scripts: string[] = []
  const files = new Map<string, StoredSandbox>()
  const state = {
    /** Scripts that hold this text are refused. */
    refuse: undefined as string | undefined,
    listed: undefined as string | undefined,
    /** Called before a script is applied. */
    before: async () => {},
    now: 0,
  }
  const nft = new Nft(async (_, args, { input = '' } = {}) => {
    if (args.includes('list'))
      return state.listed === undefined
        ? { code: 1, stdout: '', stderr: 'Error: No such file or directory' }
        : { code: 0, stdout: state.listed, stderr: '' }
    await state.before()
    if (state.refuse !== undefined && input.includes(state.refuse))
      return { code: 1, stdout: '', stderr: 'Error: refused' }
    scripts.push(input)
    return { code: 0, stdout: '', stderr: '' }
  })
  const store: SandboxFiles = {
    load: () => [...files.values()],
    prepare: (sandbox) => ({ commit: () => void files.set(sandbox.id, sandbox), discard: () => {} }),
    remove: (id) => void files.delete(id),
  }
  const record = new DecisionRecord()
  const vaults = new SandboxVaults(
    { load: () => ({ vaults: new Map(), unreadable: new Map() }), write: () => {}, remove: () => {} },
    createSilentLogger(),
  )
  const open = (defaultAction: 'allow' | 'deny' = 'allow') =>
    new Sandboxes({
      base: BASE,
      nft,
      files: store,
      defaultPolicy: { defaultAction, egress: [] },
      flows,
      record,
      requireKept: (id, policy) => vaults.requireCovered(id, policy),
      log: createSilentLogger(),
      now: () => state.now,
    })
  return { scripts, files, state, flows, record, vaults, ports: [80, 443], open }
}
