import { listQuerySchema } from '../../../lib/api/lifecycle.ts'
import type { Operation } from './operation.ts'

export const SNAPSHOT_OPERATIONS: Operation[] = [
  {
    method: 'post',
    path: '/v1/sandboxes/{id}/snapshots',
    id: 'createSnapshot',
    summary: 'Not available on this runtime.',
    tag: 'Snapshots',
    body: 'CreateSnapshotRequest',
    isBodyOptional: true,
    answers: { 404: ['No such sandbox'], 409: ['It does not run'], 501: ['Not available'] },
  },
  {
    method: 'get',
    path: '/v1/snapshots',
    id: 'listSnapshots',
    summary: 'List snapshots: none, on this runtime.',
    tag: 'Snapshots',
    query: listQuerySchema,
    answers: { 200: ['An empty page'] },
  },
  {
    method: 'get',
    path: '/v1/snapshots/{id}',
    id: 'getSnapshot',
    summary: 'Read one snapshot: there is none, on this runtime.',
    tag: 'Snapshots',
    answers: { 404: ['No such snapshot'] },
  },
  {
    method: 'delete',
    path: '/v1/snapshots/{id}',
    id: 'deleteSnapshot',
    summary: 'Delete a snapshot: there is none, on this runtime.',
    tag: 'Snapshots',
    answers: { 404: ['No such snapshot'] },
  },
]
