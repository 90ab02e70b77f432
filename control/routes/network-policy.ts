import { type Context, Hono } from 'hono'
import type { AppDeps, AppEnv } from '../app-deps.ts'
import { readBytes } from '../body.ts'
import type { EgressAnswer } from '../egress-client.ts'
import { refusal } from '../errors.ts'
import { isLive } from '../sandbox/state.ts'
import { visibleSandbox } from './visible.ts'

const TIMEOUT_MS = 15_000
const METHODS = ['GET', 'PUT', 'PATCH', 'DELETE']
/** What can be asked about a policy (egress/routes/policy.ts): additions to the contract. */
const QUESTIONS = ['explain', 'events', 'proposal']

/** The live egress policy: egress owns it, this hands requests on with the sandbox's own secret (contract: v1.1.md 1.2). */
export function networkPolicyRoutes({ lives, askEgress }: AppDeps): Hono<AppEnv> {
  const routes = new Hono<AppEnv>()
  for (const question of QUESTIONS)
    routes.get(`/sandboxes/:id/networkpolicy/${question}`, (context) =>
      handOn(context, `/${question}${new URL(context.req.url).search}`),
    )
  routes.on(METHODS, '/sandboxes/:id/networkpolicy', (context) => handOn(context))
  return routes

  async function handOn(context: Context<AppEnv>, question?: string): Promise<Response> {
    const { method } = context.req
    const row = visibleSandbox(context, lives)
    if (!isLive(row.state))
      throw refusal(
        'EGRESS::POLICY_UNAVAILABLE',
        `A sandbox that is ${row.state} has no network policy in force`,
      )
    const body = method === 'GET' ? undefined : await readBytes(context)
    if (method === 'DELETE' && body?.byteLength === 0)
      throw refusal('GENERAL::INVALID_REQUEST', 'A JSON list of targets is required as body', {
        extra: { detail: [{ type: 'missing', loc: ['body'], msg: 'is required' }] },
      })
    let answer: EgressAnswer
    try {
      answer = await askEgress({
        id: row.id,
        method,
        token: row.egressToken,
        ...(question !== undefined && { question }),
        ...(body && { body }),
        signal: AbortSignal.timeout(TIMEOUT_MS),
      })
    } catch (error) {
      throw refusal('BACKEND_CONNECTION_FAILED', 'The egress program does not answer', { cause: error })
    }
    // Egress and this program disagree for a moment only: while a sandbox comes or goes.
    if (answer.status === 404)
      throw refusal('EGRESS::POLICY_UNAVAILABLE', 'The sandbox has no network policy in force')
    if (answer.status >= 400 && !answer.contentType.includes('json'))
      throw refusal(
        'GENERAL::BAD_REQUEST',
        Buffer.from(answer.body).toString().trim().slice(0, 1000) || 'Refused by egress',
        {
          status: answer.status,
        },
      )
    return new Response(Uint8Array.from(answer.body), {
      status: answer.status,
      headers: { 'Content-Type': answer.contentType },
    })
  }
}
