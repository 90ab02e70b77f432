import { z } from 'zod'
import { tenantName } from '../../../lib/api/admin.ts'
import { listQuerySchema } from '../../../lib/api/lifecycle.ts'
import type { Operation } from './operation.ts'

const tenant = tenantName.optional().describe("Whose volumes, for the operator's keys")
const tenantQuery = z.object({ tenant })

export const VOLUME_OPERATIONS: Operation[] = [
  {
    method: 'post',
    path: '/v1/volumes',
    id: 'createVolume',
    summary: 'Make an empty named volume, which sandboxes mount by `pvc.claimName`.',
    tag: 'Volumes',
    query: tenantQuery,
    body: 'CreateVolumeRequest',
    answers: { 201: ['The volume', 'Volume'], 409: ['There is one of this name'] },
  },
  {
    method: 'get',
    path: '/v1/volumes',
    id: 'listVolumes',
    summary: 'List volumes by name, with what they take and who mounts them.',
    tag: 'Volumes',
    query: listQuerySchema.extend({ tenant }),
    answers: { 200: ['One page', 'ListVolumesResponse'] },
  },
  {
    method: 'get',
    path: '/v1/volumes/{name}',
    id: 'getVolume',
    summary: 'Read one volume.',
    tag: 'Volumes',
    query: tenantQuery,
    answers: { 200: ['The volume', 'Volume'], 404: ['No such volume'] },
  },
  {
    method: 'delete',
    path: '/v1/volumes/{name}',
    id: 'deleteVolume',
    summary: 'Remove a volume with all that is in it, when no sandbox mounts it.',
    tag: 'Volumes',
    query: tenantQuery,
    answers: { 204: ['It is gone'], 404: ['No such volume'], 409: ['A sandbox mounts it'] },
  },
]
