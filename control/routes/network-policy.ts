import { type Context, Hono } from 'hono'
import { stream } from 'hono/streaming'
import type { ApiError } from '../../lib/errors.ts'
import type { AppDeps, AppEnv } from '../app-deps.ts'
import { readBytes } from '../body.ts'
import type { EgressAnswer, EgressStream } from '../egress-client.ts'
import { refusal } from '../errors.ts'
import { isLive } from '../sandbox/state.ts'
import { isStillIn } from './still-in.ts'
import { visibleSandbox } from './visible.ts'

const TIMEOUT_MS = 15_000
const METHODS = ['GET', 'PUT', 'PATCH', 'DELETE']
/** What can be asked about a policy (egress/routes/policy.ts): additions to the contract. */
const QUESTIONS = ['explain', 'events', 'proposal']

/** The live egress policy: egress owns it, this hands requests on with the sandbox's own secret (contract: v1.1.md 1.2). */
export function networkPolicyRoutes({ lives, askEgress, openEgressStream, access }: AppDeps): Hono<AppEnv> {
  const routes = new Hono<AppEnv>()
  for (const question of QUESTIONS)
    routes.get(`/sandboxes/:id/networkpolicy/${question}`, (context) =>
      handOn(context, `/${question}${new URL(context.req.url).search}`),
    )
  routes.on(METHODS, '/sandboxes/:id/networkpolicy', (context) => handOn(context))
  routes.get('/sandboxes/:id/networkpolicy/events/stream', async (context) => {
    const row = liveSandbox(context)
    const left = new AbortController()
    const deadline = setTimeout(() => left.abort(), TIMEOUT_MS)
    let answer: EgressStream
    try {
      if (!openEgressStream) throw new Error('there is no egress')
      const lastEventId = context.req.header('last-event-id')
      answer = await openEgressStream({
        id: row.id,
        method: 'GET',
        token: row.egressToken,
        question: `/events/stream${new URL(context.req.url).search}`,
        ...(lastEventId !== undefined && { lastEventId }),
        signal: AbortSignal.any([left.signal, lives.signal]),
      })
    } catch (error) {
      throw refusal('BACKEND_CONNECTION_FAILED', 'The egress program does not answer', { cause: error })
    } finally {
      clearTimeout(deadline)
    }
    const { status, contentType, body } = answer
    if (status !== 200) {
      const text = await new Response(body).bytes()
      throw refused({ status, contentType, body: text })
    }
    context.header('Content-Type', contentType)
    context.header('Cache-Control', 'no-store')
    context.header('X-Accel-Buffering', 'no')
    return stream(context, async (output) => {
      output.onAbort(() => left.abort())
      try {
        // Egress says something every few seconds, so that the end of a key is seen then at the latest.
        for await (const chunk of body) {
          if (!(await isStillIn(access.keyring, context))) return
          await output.write(chunk)
        }
      } catch (error) {
        // The reader has left, or the program stops.
        if (!left.signal.aborted && !lives.signal.aborted) throw error
      } finally {
        left.abort()
      }
    })
  })
  return routes

  function liveSandbox(context: Context<AppEnv>) {
    const row = visibleSandbox(context, lives)
    if (isLive(row.state)) return row
    throw refusal(
      'EGRESS::POLICY_UNAVAILABLE',
      `A sandbox that is ${row.state} has no network policy in force`,
    )
  }

  async function handOn(context: Context<AppEnv>, question?: string): Promise<Response> {
    const { method } = context.req
    const row = liveSandbox(context)
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
    if (answer.status === 404 || (answer.status >= 400 && !answer.contentType.includes('json')))
      throw refused(answer)
    return new Response(Uint8Array.from(answer.body), {
      status: answer.status,
      headers: { 'Content-Type': answer.contentType },
    })
  }
}

/** What egress said against it. */
function refused({ status, body }: EgressAnswer): ApiError {
  // Egress and this program disagree for a moment only: while a sandbox comes or goes.
  if (status === 404)
    return refusal('EGRESS::POLICY_UNAVAILABLE', 'The sandbox has no network policy in force')
  const text = Buffer.from(body).toString().trim().slice(0, 1000) || 'Refused by egress'
  return refusal('GENERAL::BAD_REQUEST', text, { status })
}
