// A template as the create request that it stands for, and what a create takes over from one.

import { type CreateRequest, createRequestSchema } from '../../lib/api/lifecycle.ts'
import { describeIssues, summarizeIssues } from '../../lib/api/lifecycle-coerce.ts'
import type { TemplateRequest } from '../../lib/api/templates.ts'
import { refusal } from '../errors.ts'
import { checkMetadata } from '../sandbox/metadata.ts'
import { IDLE_ENTRYPOINT } from '../sandbox/plan.ts'
import type { TemplateRow } from '../store/templates.ts'
import { parseProbe } from './probe.ts'

/** What a template has when it does not say (contract: v1.1.md 1.4). */
const DEFAULT_LIMITS = { cpu: '1', memory: '512Mi' }
const LIMITS = ['cpu', 'memory', 'disk']
const VARIABLE = /^[A-Za-z_][A-Za-z0-9_]*$/
const MAX_WARMUP_SECONDS = 3600

/** Judges a template's body, whose form is already right. Throws a 400 that names the field. */
export function checkTemplate(body: TemplateRequest): void {
  const limit = Object.keys(body.resourceLimits ?? {}).find((name) => !LIMITS.includes(name))
  if (limit !== undefined)
    refuse(`resourceLimits.${limit.slice(0, 100)} is not known: allowed are ${LIMITS.join(', ')}`)
  for (const name of Object.keys(body.env ?? {}))
    if (!VARIABLE.test(name))
      refuse('env: a name must be letters, digits and "_", and must not begin with a digit')
  checkMetadata(body.metadata ?? {})
  if ((body.readiness?.warmupSeconds ?? 0) > MAX_WARMUP_SECONDS)
    refuse(`readiness.warmupSeconds must be at most ${MAX_WARMUP_SECONDS}`)
  const probe = body.readiness?.probe
  if (probe !== undefined && parseProbe(probe) === undefined)
    refuse('readiness.probe must be "tcp://HOST:PORT" or "cmd://COMMAND"')
  if (body.publish.trim() === '') refuse('publish must not be blank')
}

/** The create that makes a sandbox as the template describes it. Throws a 400 when no sandbox can be like that. */
export function requestOfTemplate(body: TemplateRequest): CreateRequest {
  const { disk: _noEffect, ...limits } = body.resourceLimits ?? {}
  const parsed = createRequestSchema.safeParse({
    image: { uri: body.image },
    entrypoint: body.entrypoint ?? IDLE_ENTRYPOINT,
    env: body.env ?? {},
    resourceLimits: { ...DEFAULT_LIMITS, ...limits },
  })
  if (!parsed.success) refuse(summarizeIssues(describeIssues(parsed.error, 'body')))
  return parsed.data
}

/** A create by `templateId`, with what the template says in its place. */
export function fillFromTemplate(request: CreateRequest, template: TemplateRow): CreateRequest {
  const { templateId: _, ...rest } = request
  return { ...rest, ...shapeOf(template) }
}

/** A create whose image is the name that a template was published under. What the request says itself stands above. */
export function fillFromPublished(request: CreateRequest, template: TemplateRow): CreateRequest {
  const shape = shapeOf(template)
  return {
    ...request,
    image: shape.image,
    env: { ...shape.env, ...request.env },
    resourceLimits: { ...shape.resourceLimits, ...request.resourceLimits },
  }
}

function shapeOf({ request, image }: TemplateRow): CreateRequest {
  const shape = requestOfTemplate(request)
  return { ...shape, image: { uri: image ?? request.image } }
}

function refuse(message: string): never {
  throw refusal('SANDBOX::INVALID_PARAMETER', message)
}
