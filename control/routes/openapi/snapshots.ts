import { z } from 'zod'
import { SNAPSHOT_STATES, snapshotQuerySchema } from '../../../lib/api/snapshots.ts'
import type { Operation } from './operation.ts'

/** A state may come several times, so it is read from the query itself. */
const listQuery = snapshotQuerySchema.extend({ state: z.array(z.enum(SNAPSHOT_STATES)).optional() })

export const SNAPSHOT_OPERATIONS: Operation[] = [
  {
    method: 'post',
    path: '/v1/sandboxes/{id}/snapshots',
    id: 'createSnapshot',
    summary:
      'Keep the files of a running sandbox as they are now. It goes on, and the snapshot is Ready some time later.',
    tag: 'Snapshots',
    body: 'CreateSnapshotRequest',
    isBodyOptional: true,
    answers: {
      202: ['The snapshot, Creating', 'Snapshot'],
      400: ['A label may not be'],
      403: ['Beyond the quota of the tenant'],
      404: ['No such sandbox'],
      409: ['It does not run'],
      429: ['Too many are being taken: Retry-After says when to try again'],
      501: ['The runtime takes no snapshots'],
    },
  },
  {
    method: 'post',
    path: '/v1/sandboxes/{id}/fork',
    id: 'forkSandbox',
    summary: 'Make sandboxes with the files of a running one: all that are asked for, or none.',
    tag: 'Snapshots',
    body: 'ForkRequest',
    isBodyOptional: true,
    answers: {
      202: ['The new sandboxes', 'ForkResponse'],
      400: ['Refused'],
      403: ['Beyond the quota of the tenant'],
      404: ['No such sandbox'],
      409: ['It does not run'],
      429: ['Too much is under way, or the tenant asks too often: Retry-After says when to try again'],
      501: ['The runtime takes no snapshots'],
      502: ['The network policy of the sandbox cannot be read'],
    },
  },
  {
    method: 'get',
    path: '/v1/snapshots',
    id: 'listSnapshots',
    summary: 'List snapshots, the newest first, by sandbox, name and state.',
    tag: 'Snapshots',
    query: listQuery,
    answers: { 200: ['A page of snapshots', 'ListSnapshotsResponse'] },
  },
  {
    method: 'get',
    path: '/v1/snapshots/{id}',
    id: 'getSnapshot',
    summary: 'Read one snapshot.',
    tag: 'Snapshots',
    answers: { 200: ['The snapshot', 'Snapshot'], 404: ['No such snapshot'] },
  },
  {
    method: 'delete',
    path: '/v1/snapshots/{id}',
    id: 'deleteSnapshot',
    summary: 'Delete a snapshot from which no sandbox was made that is still there.',
    tag: 'Snapshots',
    answers: {
      204: ['It is gone, or will be'],
      404: ['No such snapshot'],
      409: ['It is being taken, or in use'],
    },
  },
]
