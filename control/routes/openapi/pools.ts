import { z } from 'zod'
import { tenantName } from '../../../lib/api/admin.ts'
import type { Operation } from './operation.ts'

const tenantQuery = z.object({
  tenant: tenantName.optional().describe("Whose pools, for the operator's keys"),
})

export const POOL_OPERATIONS: Operation[] = [
  {
    method: 'post',
    path: '/v1/pools',
    id: 'createPool',
    summary:
      "Keep sandboxes of one shape warm. The template is a create request without what is the caller's, or a pod template.",
    tag: 'Pools',
    query: tenantQuery,
    body: 'CreatePoolRequest',
    answers: { 201: ['The pool', 'Pool'], 400: ['Refused'], 409: ['There is one of this name'] },
  },
  {
    method: 'get',
    path: '/v1/pools',
    id: 'listPools',
    summary: 'List pools with what is in them.',
    tag: 'Pools',
    query: tenantQuery,
    answers: { 200: ['All pools', 'ListPoolsResponse'] },
  },
  {
    method: 'get',
    path: '/v1/pools/{name}',
    id: 'getPool',
    summary: 'Read one pool.',
    tag: 'Pools',
    query: tenantQuery,
    answers: { 200: ['The pool', 'Pool'], 404: ['No such pool'] },
  },
  {
    method: 'put',
    path: '/v1/pools/{name}',
    id: 'updatePool',
    summary: 'Change how many sandboxes are kept, and with a template what they are like.',
    tag: 'Pools',
    query: tenantQuery,
    body: 'UpdatePoolRequest',
    answers: { 200: ['The pool', 'Pool'], 400: ['Refused'], 404: ['No such pool'] },
  },
  {
    method: 'delete',
    path: '/v1/pools/{name}',
    id: 'deletePool',
    summary: 'Remove a pool and its warm sandboxes; claimed ones stay.',
    tag: 'Pools',
    query: tenantQuery,
    answers: { 204: ['It is gone'], 404: ['No such pool'] },
  },
]
