// Everything that makes sandboxes in another way than one by one: pools, templates and snapshots, over the rows and the runtime that all
// share.

import type { AppSettings } from '../app-deps.ts'
import type { EgressAnswer, EgressRequest } from '../egress-client.ts'
import type { ExecdClient } from '../execd-client.ts'
import type { Lives } from '../sandbox/lives.ts'
import type { PlanLimits } from '../sandbox/plan.ts'
import { SnapshotKeeper } from '../snapshots/keeper.ts'
import { PoolStore } from '../store/pools.ts'
import { SnapshotStore } from '../store/snapshots.ts'
import { TemplateStore } from '../store/templates.ts'
import { TemplateBuilder } from '../templates/builder.ts'
import type { FulfilDeps } from './fulfil.ts'
import { PoolKeeper } from './keeper.ts'

export type Pooling = {
  deps: FulfilDeps
  keeper: PoolKeeper
  builder: TemplateBuilder
  snapshotKeeper: SnapshotKeeper
}

export type PoolingOptions = {
  lives: Lives
  settings: Pick<AppSettings, 'arch' | 'maxTimeoutSeconds' | 'ruleSets'>
  execd: ExecdClient
  askEgress: (request: EgressRequest) => Promise<EgressAnswer>
  poolWaitMs?: number
  probeMs?: number
}

/** Puts it together and takes back what an earlier process has left half claimed; the loops are the caller's to run. */
export function openPooling({ lives, settings, execd, askEgress, ...waits }: PoolingOptions): Pooling {
  const planLimits = (): PlanLimits => ({
    allowedHostPaths: lives.settings.allowedHostPaths,
    allowIsolatedSessions: lives.settings.allowIsolatedSessions,
    ...(lives.settings.pullPolicy && { pullPolicy: lives.settings.pullPolicy }),
    canPause: lives.runtime.canPause !== false,
    ...(lives.settings.renewsOnAccess !== undefined && { renewsOnAccess: lives.settings.renewsOnAccess }),
    hasVolumes: lives.runtime.volumes !== undefined,
    ...(lives.runtime.abilities && { abilities: lives.runtime.abilities }),
    ...(lives.settings.defaultDiskBytes !== undefined && {
      defaultDiskBytes: lives.settings.defaultDiskBytes,
    }),
    ...(settings.ruleSets && { ruleSets: settings.ruleSets() }),
    arch: settings.arch,
    now: lives.now(),
    ...(settings.maxTimeoutSeconds !== undefined && { maxTimeoutSeconds: settings.maxTimeoutSeconds }),
  })
  const deps: FulfilDeps = {
    lives,
    execd,
    askEgress,
    planLimits,
    pools: new PoolStore(lives.store.database),
    templates: new TemplateStore(lives.store.database),
    snapshots: new SnapshotStore(lives.store.database),
    ...(waits.poolWaitMs !== undefined && { poolWaitMs: waits.poolWaitMs }),
  }
  const keeper = new PoolKeeper(deps)
  keeper.recover()
  const builder = new TemplateBuilder({
    ...deps,
    ...(waits.probeMs !== undefined && { probeMs: waits.probeMs }),
  })
  return { deps, keeper, builder, snapshotKeeper: new SnapshotKeeper(deps) }
}
