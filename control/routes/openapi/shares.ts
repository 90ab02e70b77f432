import type { Operation } from './operation.ts'

export const SHARE_OPERATIONS: Operation[] = [
  {
    method: 'post',
    path: '/v1/sandboxes/{id}/shares',
    id: 'shareSandbox',
    summary:
      'Make a link that opens one port of a sandbox with secureAccess. The link is in this answer and nowhere else.',
    tag: 'Network',
    body: 'CreateShareRequest',
    answers: {
      201: ['The link', 'NewShare'],
      400: ['The port opens to its own token alone'],
      404: ['No such sandbox'],
      409: ['The sandbox is open to everybody, or has too many links'],
    },
  },
  {
    method: 'get',
    path: '/v1/sandboxes/{id}/shares',
    id: 'listShares',
    summary: 'List the links to a sandbox; never what they carry.',
    tag: 'Network',
    answers: { 200: ['The links', 'ListSharesResponse'], 404: ['No such sandbox'] },
  },
  {
    method: 'delete',
    path: '/v1/sandboxes/{id}/shares/{share}',
    id: 'revokeShare',
    summary: 'Take a link back at once; what is under way by it is cut.',
    tag: 'Network',
    answers: { 204: ['It opens nothing any more'], 404: ['No such sandbox, or no such link'] },
  },
]
