import type { Operation } from './operation.ts'

export const DOMAIN_OPERATIONS: Operation[] = [
  {
    method: 'put',
    path: '/v1/sandboxes/{id}/domains/{name}',
    id: 'putDomain',
    summary: 'Give a port of a sandbox a name of its own, of those that the operator gives away.',
    tag: 'Network',
    body: 'PutDomainRequest',
    answers: {
      200: ['The name', 'Domain'],
      400: ['No name, or none that is given away'],
      404: ['No such sandbox'],
      409: ["The name is another sandbox's, or this one has too many"],
    },
  },
  {
    method: 'get',
    path: '/v1/sandboxes/{id}/domains',
    id: 'listDomains',
    summary: 'List the names of a sandbox.',
    tag: 'Network',
    answers: { 200: ['The names', 'ListDomainsResponse'], 404: ['No such sandbox'] },
  },
  {
    method: 'delete',
    path: '/v1/sandboxes/{id}/domains/{name}',
    id: 'deleteDomain',
    summary: 'Take a name away from a sandbox.',
    tag: 'Network',
    answers: { 204: ['It leads nowhere any more'], 404: ['No such sandbox, or it does not have this name'] },
  },
]
