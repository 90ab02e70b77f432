import { z } from 'zod'
import { endpointQuerySchema } from '../../../lib/api/lifecycle.ts'
import type { Operation } from './operation.ts'

const POLICY_QUESTIONS = [
  {
    about: 'explain',
    id: 'explainNetworkPolicy',
    summary:
      'Why the sandbox may reach a name or an address, or not: the decision, and the rule that it follows from.',
    query: z.object({
      target: z.string().describe('A host name or an IP address'),
      port: z.int().min(1).max(65_535).optional().describe('For connections to this port alone'),
      protocol: z.enum(['tcp', 'udp', 'icmp']).optional().describe('With a port: tcp when it is left out'),
    }),
  },
  {
    about: 'events',
    id: 'listNetworkPolicyEvents',
    summary: 'What the sandbox tried and what was decided, the oldest first, as far back as it is kept.',
    query: z.object({
      after: z.int().min(0).optional().describe('The `next` of the page before'),
      limit: z.int().min(1).max(500).optional(),
    }),
  },
  {
    about: 'proposal',
    id: 'proposeNetworkPolicy',
    summary: 'A policy that allows what the sandbox has reached so far, and nothing else.',
    query: z.object({
      denied: z.enum(['true', 'false']).optional().describe('Also what was denied to it'),
      ports: z.enum(['true', 'false']).optional().describe('Only the ports of connections that were seen'),
    }),
  },
  {
    about: 'events/stream',
    id: 'streamNetworkPolicyEvents',
    summary: 'The same decisions as they are made: server-sent events that go on where Last-Event-ID says.',
    query: z.object({
      after: z.int().min(0).optional().describe('Where to begin; absent for what comes from now on'),
    }),
  },
]

export const NETWORK_OPERATIONS: Operation[] = [
  {
    method: 'get',
    path: '/v1/sandboxes/{id}/endpoints/{port}',
    id: 'getSandboxEndpoint',
    summary: 'Where a port is reached, and which headers to send. 44772 is execd, 18080 the egress policy.',
    tag: 'Network',
    query: endpointQuerySchema,
    answers: { 200: ['The endpoint', 'Endpoint'], 400: ['No such port'], 404: ['No such sandbox'] },
  },
  ...(['get', 'put', 'patch', 'delete'] as const).map(
    (method): Operation => ({
      method,
      path: '/v1/sandboxes/{id}/networkpolicy',
      id: `${method}NetworkPolicy`,
      summary: {
        get: 'Read the egress policy in force.',
        put: 'Replace the egress policy.',
        patch: 'Put rules, given as a list, before those there are.',
        delete: 'Remove the rules of the targets given as a list.',
      }[method],
      tag: 'Network',
      ...(method === 'put' && { body: 'NetworkPolicy' as const }),
      answers: {
        200: ['The state of the policy'],
        404: ['No such sandbox'],
        409: ['None is in force'],
        502: ['The egress program does not answer'],
      },
    }),
  ),
  ...POLICY_QUESTIONS.map(
    ({ about, query, ...rest }): Operation => ({
      method: 'get',
      path: `/v1/sandboxes/{id}/networkpolicy/${about}`,
      ...rest,
      tag: 'Network',
      query,
      answers: {
        200: ['The answer'],
        502: ['The egress program does not answer'],
        400: ['The query is not proper'],
        404: ['No such sandbox'],
        409: ['No policy is in force'],
      },
    }),
  ),
  ...(['get', 'head', 'post', 'put', 'patch', 'delete'] as const).map(
    (method): Operation => ({
      method,
      path: '/v1/sandboxes/{id}/proxy/{port}/{path}',
      id: `${method}ThroughProxy`,
      summary:
        'A request to a port of a sandbox, passed on as it is. Here the path may have any number of parts, and none.',
      tag: 'Network',
      answers: { 404: ['No such sandbox'], 409: ['It does not run'], 502: ['Nothing answers'] },
      open: true,
    }),
  ),
]
