// The shapes of sandboxes in the lifecycle API, requests and answers, written once (contract: lifecycle.md 2, v1.1.md 1); other
// resources have files of their own beside this one. The rules that stand in these are those of form: what breaks one is answered
// 422. What depends on the configuration, on other sandboxes or on this runtime is decided by control (control/sandbox/plan.ts) and
// answered 400.

import { z } from 'zod'
import { atMost, bool, fields, integer, text, textMap } from './lifecycle-coerce.ts'
import { LIFECYCLE_VARIABLE } from './lifecycle-hooks.ts'
import { lifecycleSchema } from './lifecycle-hooks-request.ts'
import { argument, envSchema, isBlank, paginationSchema, time } from './lifecycle-parts.ts'
import { volumeSchema } from './lifecycle-volumes.ts'
import { POLICY_ACTIONS } from './network-policy.ts'

export const SANDBOX_STATES = [
  'Pending',
  'Running',
  'Pausing',
  'Paused',
  'Resuming',
  'Stopping',
  'Terminated',
  'Failed',
] as const
export type SandboxState = (typeof SANDBOX_STATES)[number]

export const EXECD_TOKEN_HEADER = 'X-EXECD-ACCESS-TOKEN'
/** Says of what kind the sandbox of an endpoint is, so that SDKs know where its policy is changed (contract: v1.1.md 1.5). */
export const ORIGIN_HEADER = 'OPEN-SANDBOX-ORIGIN'
export const EGRESS_TOKEN_HEADER = 'OPENSANDBOX-EGRESS-AUTH'

const imageSchema = fields({
  uri: text
    .max(512)
    .refine(
      (value) => isBlank(value) || /^[A-Za-z0-9][A-Za-z0-9._/:@+-]*$/.test(value.trim()),
      'must be an image reference such as "debian:13" or "registry.example.com/team/app@sha256:..."',
    ),
  auth: fields({ username: text.max(1024), password: text.max(16_384) }).optional(),
})

const lowerCase = (value: unknown) => (typeof value === 'string' ? value.trim().toLowerCase() : value)
const policyAction = z.preprocess(lowerCase, z.enum(POLICY_ACTIONS))

/** A target is opaque here; what it may be is egress's to judge (contract: egress.md 1). */
const policyTarget = z
  .string()
  .max(512)
  .refine(
    (value) => /^[^\s\p{Cc}]+$/u.test(value.trim()),
    'must be a name, "*.name", an IP address or a CIDR range',
  )

export const networkPolicyRequestSchema = fields({
  defaultAction: policyAction.optional(),
  egress: z
    .array(
      fields({
        action: policyAction.optional(),
        target: policyTarget,
        protocol: z.string().optional(),
        ports: z.array(z.union([z.string(), z.number()])).optional(),
      }),
    )
    .max(4096)
    .optional(),
})

const MAX_LIMITS = 100
export const limitsSchema = atMost(MAX_LIMITS, textMap())
const MAX_EXTENSIONS = 1000

const createShape = {
  image: imageSchema.optional(),
  snapshotId: text.optional(),
  templateId: text.min(1).optional(),
  platform: fields({ os: text, arch: text }).optional(),
  timeout: integer(60).optional(),
  resourceLimits: limitsSchema.optional(),
  resourceRequests: limitsSchema.optional(),
  env: envSchema.optional(),
  metadata: z.record(z.string(), z.string()).optional(),
  entrypoint: z.array(argument).min(1).max(10_000).optional(),
  networkPolicy: networkPolicyRequestSchema.optional(),
  credentialProxy: fields({ enabled: bool.optional() }).optional(),
  secureAccess: bool.optional(),
  volumes: z.array(volumeSchema).max(256).optional(),
  extensions: atMost(MAX_EXTENSIONS, z.record(text, text)).optional(),
  lifecycle: lifecycleSchema.optional(),
}

/** Body of `POST /sandboxes`. */
export const createRequestSchema = fields(createShape).superRefine((request, context) => {
  const refuse = (path: (string | number)[], message: string) =>
    context.addIssue({ code: 'custom', path, message, input: undefined })
  const { env, volumes, lifecycle, credentialProxy, extensions } = request
  const hasImage = !isBlank(request.image?.uri)
  const hasSnapshot = !isBlank(request.snapshotId)
  const isPooled = !isBlank(extensions?.poolRef)

  for (const [index, volume] of (volumes ?? []).entries()) {
    const backends = [volume.host, volume.pvc, volume.ossfs].filter((backend) => backend !== undefined).length
    if (backends !== 1)
      refuse(['volumes', index], `must name exactly one of host, pvc and ossfs, but it names ${backends}`)
  }
  if (env && LIFECYCLE_VARIABLE in env)
    refuse(['env', LIFECYCLE_VARIABLE], 'is reserved: use "lifecycle" instead')
  if (credentialProxy?.enabled && !request.networkPolicy)
    refuse(['credentialProxy'], 'needs "networkPolicy" when it is enabled')
  if (lifecycle && isPooled) refuse(['lifecycle'], 'cannot be used together with extensions.poolRef')

  if (!isBlank(request.templateId)) {
    const others = [
      'entrypoint',
      'env',
      'resourceLimits',
      'resourceRequests',
      'volumes',
      'platform',
      'credentialProxy',
      'lifecycle',
    ] as const
    const forbidden = [
      ...(hasImage ? ['image'] : []),
      ...(hasSnapshot ? ['snapshotId'] : []),
      ...others.filter((name) => request[name] !== undefined),
      ...(request.secureAccess ? ['secureAccess'] : []),
    ]
    for (const name of forbidden) refuse([name], 'cannot be used together with "templateId"')
    if (request.timeout === undefined) refuse(['timeout'], 'is required with "templateId"')
    return
  }
  if (isPooled) {
    if (hasSnapshot) refuse(['snapshotId'], 'cannot be used together with extensions.poolRef')
    if (credentialProxy?.enabled)
      refuse(['credentialProxy'], 'cannot be used together with extensions.poolRef')
    return
  }
  if (hasImage === hasSnapshot)
    refuse(
      ['image'],
      `exactly one of "image" and "snapshotId" is required, but ${hasImage ? 'both' : 'none'} was given`,
    )
  else if (hasImage && !request.entrypoint) refuse(['entrypoint'], 'is required with "image"')
  if (!request.resourceLimits) refuse(['resourceLimits'], 'is required; {} sets no limit')
})
export type CreateRequest = z.output<typeof createRequestSchema>

/** Body of `PATCH /sandboxes/{id}/metadata`: the patch map itself; null removes a key. */
export const metadataPatchSchema = z.record(z.string(), z.string().nullable())
export type MetadataPatch = z.output<typeof metadataPatchSchema>

/** Body of `POST /sandboxes/{id}/renew-expiration`: a date and time in any usual form, or seconds since 1970. */
export const renewRequestSchema = fields({
  expiresAt: z.union([z.string().max(64), z.number()]),
})

export const listQuerySchema = z.object({
  page: integer(1).default(1),
  pageSize: integer(1, 200).default(20),
})

export const endpointQuerySchema = z.object({
  use_server_proxy: bool.default(false),
  /** Seconds since 1970, up to 2^64-1: more than a number holds. */
  expires: z
    .string()
    .regex(/^[+-]?\d{1,40}$/, 'must be a whole number of seconds')
    .optional(),
})

/** Body of `POST /metrics/events`. */
export const metricsEventSchema = fields({
  eventType: z.literal('sandbox.create'),
  createDurationMs: integer(0),
  success: bool,
  sandboxId: z.string().optional(),
  image: z.string().optional(),
})

// ---- answers

export const errorSchema = z.object({ code: z.string(), message: z.string() })

const sandboxStatusSchema = z.object({
  state: z.enum(SANDBOX_STATES),
  reason: z.string().optional(),
  message: z.string().optional(),
  lastTransitionAt: time.optional(),
})

const platformSchema = z.object({ os: z.string(), arch: z.string() })
export type Platform = z.output<typeof platformSchema>

/** Answer of create. */
export const createdSandboxSchema = z.object({
  id: z.string(),
  status: sandboxStatusSchema,
  metadata: z.record(z.string(), z.string()).optional(),
  extensions: z.record(z.string(), z.string()).optional(),
  /** Present when a pool has given it. */
  allocation: z
    .object({ mode: z.literal('pool'), poolRef: z.string(), state: z.literal('allocated') })
    .optional(),
  platform: platformSchema.optional(),
  expiresAt: time.optional(),
  createdAt: time,
  entrypoint: z.array(z.string()),
})
export type CreatedSandbox = z.output<typeof createdSandboxSchema>

export const sandboxSchema = createdSandboxSchema.extend({
  image: z.object({ uri: z.string() }).optional(),
  snapshotId: z.string().optional(),
})
export type Sandbox = z.output<typeof sandboxSchema>

export const sandboxListSchema = z.object({ items: z.array(sandboxSchema), pagination: paginationSchema })
export type SandboxList = z.output<typeof sandboxListSchema>

export const endpointSchema = z.object({
  endpoint: z.string(),
  headers: z.record(z.string(), z.string()).optional(),
})
export type Endpoint = z.output<typeof endpointSchema>

export const renewedSchema = z.object({ expiresAt: time })
