// A sandbox's own policy API, as clients know it at port 18080 (contract: egress.md 2), here below `/sandboxes/{id}`. Errors are
// plain text, which is what the published SDKs show.

import { type Context, Hono } from 'hono'
import {
  checkNetworkPolicy,
  checkNetworkRules,
  formatPolicyProblem,
  MAX_POLICY_RULES,
  type NetworkPolicy,
  type PolicyProblem,
  tooManyRules,
} from '../../lib/api/network-policy.ts'
import type { Endpoint } from '../../lib/api/rule-scope.ts'
import { ApiError } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import { explain } from '../explain.ts'
import { modeOf, patchPolicy, removeTargets } from '../policy/change.ts'
import type { DecisionRecord } from '../record.ts'
import type { Sandboxes } from '../sandboxes.ts'
import { readBody } from './body.ts'
import { json, methodNotAllowed, requireCaller, requireSandbox } from './caller.ts'
import { createEventStreams } from './event-stream.ts'

const ENFORCEMENT_MODE = 'dns+nft'
const MAX_EVENTS = 500
const DEFAULT_EVENTS = 100
const POLICY_METHODS = 'GET, POST, PUT, PATCH, DELETE'
const PROTOCOLS = ['tcp', 'udp', 'icmp']

export type PolicyDeps = { sandboxes: Sandboxes; record: DecisionRecord; log: Logger }

export function policyRoutes({ sandboxes, record, log }: PolicyDeps): Hono {
  const routes = new Hono()
  const followEvents = createEventStreams()

  routes.all('/sandboxes/:id/healthz', (context) => {
    requireSandbox(sandboxes, context)
    return context.text('ok')
  })

  routes.all('/sandboxes/:id/policy', async (context) => {
    const { id } = requireCaller(sandboxes, context)
    switch (context.req.method) {
      case 'GET':
      case 'HEAD': {
        const { policy } = requireSandbox(sandboxes, context).policy
        return answer(context, policy, { policy })
      }
      case 'POST':
      case 'PUT':
        return replace(context, id, await readBody(context.req.raw))
      case 'PATCH':
        return patch(context, id, await readBody(context.req.raw))
      case 'DELETE':
        return remove(context, id, await readBody(context.req.raw))
      default:
        throw methodNotAllowed(context, POLICY_METHODS)
    }
  })

  routes.get('/sandboxes/:id/policy/explain', (context) => {
    const sandbox = requireCaller(sandboxes, context)
    const endpoint = readEndpoint(context)
    const target = context.req.query('target') ?? ''
    return json(context, explain(sandboxes, sandbox, { target, ...(endpoint && { endpoint }) }))
  })

  routes.get('/sandboxes/:id/policy/events', (context) => {
    const { id } = requireCaller(sandboxes, context)
    const after = readCount(context, 'after', { min: 0, max: Number.MAX_SAFE_INTEGER, absent: 0 })
    const limit = readCount(context, 'limit', { min: 1, max: MAX_EVENTS, absent: DEFAULT_EVENTS })
    return json(context, record.page(id, { after, limit }))
  })
  routes.get('/sandboxes/:id/policy/events/stream', (context) => {
    const { id } = requireCaller(sandboxes, context)
    const isGiven = context.req.query('after') !== undefined
    const after = readCount(context, 'after', { min: 0, max: Number.MAX_SAFE_INTEGER, absent: 0 })
    const isThere = (one: string) => sandboxes.get(one) !== undefined
    return followEvents(context, id, { record, isThere, ...(isGiven && { after }) })
  })
  routes.get('/sandboxes/:id/policy/proposal', (context) => {
    const { id } = requireCaller(sandboxes, context)
    const options = {
      includeDenied: readYesOrNo(context, 'denied'),
      withPorts: readYesOrNo(context, 'ports'),
    }
    return json(context, record.propose(id, options))
  })

  return routes

  async function replace(context: Context, id: string, body: string): Promise<Response> {
    const isReset = body.trim() === ''
    const checked = isReset
      ? checkNetworkPolicy(undefined)
      : checkNetworkPolicy(parseJson(body), sandboxes.sets)
    if (!('policy' in checked)) throw problem(checked)
    const policy = await sandboxes.changePolicy(id, () => checked.policy)
    report(id, policy, isReset ? 'reset' : 'replaced')
    if (isReset)
      return json(context, {
        status: 'ok',
        mode: 'deny_all',
        reason: 'policy reset to default deny-all',
      })
    return answer(context, checked.policy)
  }

  async function patch(context: Context, id: string, body: string): Promise<Response> {
    const checked = checkNetworkRules(parseList(body, 'rules'), 'rules', sandboxes.sets)
    if (!('rules' in checked)) throw problem(checked)
    const policy = await sandboxes.changePolicy(id, (current) => {
      const next = patchPolicy(current, checked.rules)
      if (next.egress.length > MAX_POLICY_RULES) throw problem(tooManyRules(next.egress.length))
      return next
    })
    report(id, policy, 'patched')
    return answer(context, policy ?? requireSandbox(sandboxes, context).policy.policy)
  }

  async function remove(context: Context, id: string, body: string): Promise<Response> {
    const targets = parseList(body, 'targets')
    const wrong = targets.findIndex((target) => typeof target !== 'string' || target.trim() === '')
    if (wrong >= 0)
      throw new ApiError(400, 'INVALID_TARGET', `targets[${wrong}] must be a text that is not empty`)
    const policy = await sandboxes.changePolicy(id, (current) => removeTargets(current, targets.map(String)))
    if (policy) {
      report(id, policy, 'rules removed')
      return answer(context, policy)
    }
    const { policy: unchanged } = requireSandbox(sandboxes, context).policy
    return answer(context, unchanged, { reason: 'no matching targets found' })
  }

  function report(id: string, policy: NetworkPolicy | undefined, change: string): void {
    log.info(`policy ${change}`, {
      sandbox: id,
      default: policy?.defaultAction,
      rules: policy?.egress.length,
    })
  }
}

/** Every error as the contract's sidecar writes it: a line of plain text. */
export function formatError(error: ApiError): Response {
  const allow = error.extra?.allow
  return new Response(`${error.message}\n`, {
    status: error.status,
    headers: {
      'Content-Type': 'text/plain; charset=utf-8',
      'X-Content-Type-Options': 'nosniff',
      ...(typeof allow === 'string' && { Allow: allow }),
    },
  })
}

function answer(context: Context, policy: NetworkPolicy, extra: Record<string, unknown> = {}): Response {
  const { reason, ...rest } = extra
  return json(context, {
    status: 'ok',
    mode: modeOf(policy),
    enforcementMode: ENFORCEMENT_MODE,
    ...(reason !== undefined && { reason }),
    ...rest,
  })
}

/** What `port` and `protocol` say, or undefined without a port. */
function readEndpoint(context: Context): Endpoint | undefined {
  const protocol = context.req.query('protocol') ?? 'tcp'
  if (!PROTOCOLS.includes(protocol))
    throw new ApiError(
      400,
      'INVALID_QUERY',
      `protocol must be one of ${PROTOCOLS.join(', ')}, but it is ${JSON.stringify(protocol.slice(0, 40))}`,
    )
  const port = readCount(context, 'port', { min: 1, max: 65_535, absent: 0 })
  return port === 0 && protocol !== 'icmp' ? undefined : { protocol, port }
}

function readYesOrNo(context: Context, name: string): boolean {
  const text = context.req.query(name) ?? 'false'
  if (text !== 'true' && text !== 'false')
    throw new ApiError(
      400,
      'INVALID_QUERY',
      `${name} must be "true" or "false", but it is ${JSON.stringify(text.slice(0, 40))}`,
    )
  return text === 'true'
}

function readCount(
  context: Context,
  name: string,
  { min, max, absent }: { min: number; max: number; absent: number },
): number {
  const text = context.req.query(name)
  if (text === undefined) return absent
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN
  if (value >= min && value <= max) return value
  throw new ApiError(
    400,
    'INVALID_QUERY',
    `${name} must be a whole number from ${min} to ${max}, but it is ${JSON.stringify(text.slice(0, 40))}`,
  )
}

function parseJson(body: string): unknown {
  try {
    return JSON.parse(body)
  } catch (error) {
    throw new ApiError(400, 'INVALID_JSON', 'the body is not valid JSON', { cause: error })
  }
}

function parseList(body: string, what: string): unknown[] {
  if (body.trim() === '')
    throw new ApiError(400, 'INVALID_BODY', `a JSON list of ${what} is required as body`)
  const value = parseJson(body)
  if (!Array.isArray(value))
    throw new ApiError(400, 'INVALID_BODY', `the body must be a JSON list of ${what}`)
  if (value.length === 0) throw new ApiError(400, 'INVALID_BODY', `the list of ${what} must not be empty`)
  return value
}

function problem(found: PolicyProblem): ApiError {
  return new ApiError(found.tooMany ? 413 : 400, 'INVALID_POLICY', formatPolicyProblem(found))
}
