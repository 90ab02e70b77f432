// The shapes of the lifecycle API, requests and answers, written once (design D13; contract: lifecycle.md 2, v1.1.md 1). The
// rules that stand here are those of form: what breaks one is answered 422. What depends on the configuration, on other
// sandboxes or on this runtime is decided by control (control/sandbox/plan.ts) and answered 400.

import { z } from 'zod'
import { messageOf } from '../errors.ts'
import { isRecord } from '../is-record.ts'
import { parseSchedule } from '../schedule.ts'
import { atMost, bool, exactFields, fields, integer, text, textMap } from './lifecycle-coerce.ts'
import {
  LIFECYCLE_VARIABLE,
  MAX_PERIODIC_HOOKS,
  MAX_PERIODIC_SECONDS,
  MAX_PRE_START_SECONDS,
} from './lifecycle-hooks.ts'
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

/** The longest argument or variable that Linux hands to a program, its ending NUL included. */
const MAX_ARGUMENT_BYTES = 131_072
const argument = text.refine(
  (value) => Buffer.byteLength(value) < MAX_ARGUMENT_BYTES,
  `must be shorter than ${MAX_ARGUMENT_BYTES} bytes`,
)
const label = z
  .string()
  .regex(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/, 'must consist of a-z, 0-9 and inner hyphens')
const isBlank = (value: string | undefined) => value === undefined || value.trim() === ''

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
    .array(fields({ action: policyAction.optional(), target: policyTarget }))
    .max(4096)
    .optional(),
})

const envName = text.refine(
  (value) => value !== '' && !value.includes('='),
  'must not be empty and must not hold "="',
)
/** As many as execd takes for a command. */
const MAX_ENV = 5000
const envSchema = atMost(
  MAX_ENV,
  z.preprocess(
    (value) =>
      isRecord(value)
        ? Object.fromEntries(Object.entries(value).filter(([, entry]) => entry !== null))
        : value,
    z.record(envName, argument),
  ),
)
const MAX_LIMITS = 100
const limitsSchema = atMost(MAX_LIMITS, textMap())
const MAX_EXTENSIONS = 1000

const volumeSchema = fields({
  name: label.max(63),
  mountPath: text.max(4096).startsWith('/', 'must begin with "/"'),
  readOnly: bool.optional(),
  subPath: text.max(4096).optional(),
  host: fields({ path: text.max(4096).regex(/^(\/|[A-Za-z]:[\\/])/, 'must be an absolute path') }).optional(),
  pvc: fields({
    claimName: label.max(253),
    createIfNotExists: bool.optional(),
    deleteOnSandboxTermination: bool.optional(),
    storageClass: text.optional(),
    storage: z
      .string()
      .regex(/^\d+(\.\d+)?(Ki|Mi|Gi|Ti|Pi|Ei)?$/, 'must be an amount such as "10Gi"')
      .optional(),
    accessModes: z.array(text).optional(),
  }).optional(),
  ossfs: fields({
    bucket: text.min(3).max(63),
    endpoint: text.min(1),
    version: z.enum(['1.0', '2.0']).optional(),
    options: z.union([z.array(text), z.record(text, text)]).optional(),
    accessKeyId: text.min(1),
    accessKeySecret: text.min(1),
  }).optional(),
})
export type VolumeRequest = z.output<typeof volumeSchema>

const hookCommand = z
  .array(argument)
  .min(1)
  .refine((words) => !isBlank(words[0]), 'must begin with a word that is not blank')
const hookSchedule = text.superRefine((value, context) => {
  try {
    parseSchedule(value)
  } catch (error) {
    context.addIssue({ code: 'custom', message: messageOf(error), input: undefined })
  }
})
const lifecycleSchema = exactFields({
  preStart: exactFields({
    command: hookCommand,
    timeoutSeconds: integer(1, MAX_PRE_START_SECONDS).optional(),
  }).optional(),
  periodic: z
    .array(
      exactFields({
        name: text.max(256).refine((value) => !isBlank(value), 'must not be blank'),
        schedule: hookSchedule,
        command: hookCommand,
        timeoutSeconds: integer(1, MAX_PERIODIC_SECONDS).optional(),
      }),
    )
    .max(MAX_PERIODIC_HOOKS)
    .refine(
      (hooks) => new Set(hooks.map((hook) => hook.name.trim())).size === hooks.length,
      'must have unique names',
    )
    .optional(),
}).refine(
  (value) => Buffer.byteLength(JSON.stringify(value)) < MAX_ARGUMENT_BYTES,
  `must be shorter than ${MAX_ARGUMENT_BYTES} bytes as JSON`,
)

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
  expires: integer(-Number.MAX_SAFE_INTEGER).optional(),
})

/** What part of a sandbox diagnostics may be about. */
export const DIAGNOSTICS_SCOPES = { logs: ['container', 'all'], events: ['runtime', 'all'] } as const
export const logsQuerySchema = z.object({ tail: integer(1, 10_000).default(100) })
export const eventsQuerySchema = z.object({ limit: integer(1, 500).default(50) })
export const summaryQuerySchema = z.object({
  event_limit: integer(1, 500).default(20),
  tail: integer(1, 10_000).default(50),
})

/** Body of `POST /metrics/events`. */
export const metricsEventSchema = fields({
  eventType: z.literal('sandbox.create'),
  createDurationMs: integer(0),
  success: bool,
  sandboxId: z.string().optional(),
  image: z.string().optional(),
})

/** Body of `POST /sandboxes/{id}/snapshots`; it may be missing. */
export const snapshotRequestSchema = fields({ name: text.min(1).max(256).optional() })

const capacitySchema = fields({
  bufferMax: integer(0),
  bufferMin: integer(0),
  poolMax: integer(0),
  poolMin: integer(0),
})
export const poolRequestSchema = fields({
  name: label.max(253),
  template: z.record(z.string(), z.unknown()),
  capacitySpec: capacitySchema,
})
export const poolUpdateSchema = fields({
  capacitySpec: capacitySchema,
  /** An addition: warm sandboxes of the old shape are replaced. */
  template: z.record(z.string(), z.unknown()).optional(),
})

export const templateRequestSchema = exactFields({
  image: text.min(1),
  publish: text.min(1),
  resourceLimits: z.record(z.string(), z.string()).optional(),
  entrypoint: z.array(argument).min(1).optional(),
  env: envSchema.optional(),
  metadata: z.record(z.string(), z.string()).optional(),
  readiness: fields({
    probe: z
      .string()
      .regex(/^(tcp|cmd):\/\//, 'must begin with "tcp://" or "cmd://"')
      .optional(),
    warmupSeconds: integer(0).optional(),
  }).optional(),
  format: z.enum(['native', 'overlaybd']).optional(),
})
export type TemplateRequest = z.output<typeof templateRequestSchema>

// ---- answers

const time = z.iso.datetime({ offset: true })

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

const paginationSchema = z.object({
  page: z.int(),
  pageSize: z.int(),
  totalItems: z.int(),
  totalPages: z.int(),
  hasNextPage: z.boolean(),
})
export type Pagination = z.output<typeof paginationSchema>

export const sandboxListSchema = z.object({ items: z.array(sandboxSchema), pagination: paginationSchema })
export type SandboxList = z.output<typeof sandboxListSchema>

export const endpointSchema = z.object({
  endpoint: z.string(),
  headers: z.record(z.string(), z.string()).optional(),
})
export type Endpoint = z.output<typeof endpointSchema>

export const poolSchema = z.object({
  name: z.string(),
  capacitySpec: z.object({
    bufferMax: z.int(),
    bufferMin: z.int(),
    poolMax: z.int(),
    poolMin: z.int(),
  }),
  status: z.object({
    total: z.int(),
    allocated: z.int(),
    available: z.int(),
    revision: z.string(),
    /** An addition: why the pool could not be filled, last time. */
    message: z.string().optional(),
  }),
  createdAt: time,
  /** An addition, for the operator's keys. */
  tenant: z.string().optional(),
})
export type Pool = z.output<typeof poolSchema>
export const poolListSchema = z.object({ items: z.array(poolSchema) })

export const TEMPLATE_PHASES = ['Pending', 'Building', 'Succeeded', 'Failed'] as const
export type TemplatePhase = (typeof TEMPLATE_PHASES)[number]

export const templateSchema = z.object({
  templateId: z.string(),
  image: z.string(),
  publish: z.string(),
  format: z.enum(['native', 'overlaybd']),
  status: z.object({
    phase: z.enum(TEMPLATE_PHASES),
    manifestRef: z.string().optional(),
    message: z.string().optional(),
  }),
  resourceLimits: z.record(z.string(), z.string()).optional(),
  entrypoint: z.array(z.string()).optional(),
  env: z.record(z.string(), z.string()).optional(),
  metadata: z.record(z.string(), z.string()).optional(),
  readiness: z.object({ probe: z.string().optional(), warmupSeconds: z.int().optional() }).optional(),
  createdAt: time,
  updatedAt: time,
})
export type Template = z.output<typeof templateSchema>
export const templateListSchema = z.object({ items: z.array(templateSchema), pagination: paginationSchema })

export const renewedSchema = z.object({ expiresAt: time })

export const diagnosticsSchema = z.object({
  sandboxId: z.string(),
  kind: z.enum(['logs', 'events']),
  scope: z.string(),
  delivery: z.enum(['inline', 'url']),
  contentType: z.string(),
  content: z.string().optional(),
  contentLength: z.int().optional(),
  truncated: z.boolean(),
  warnings: z.array(z.string()).optional(),
})
export type Diagnostics = z.output<typeof diagnosticsSchema>

/** The five numbers that every list carries; `totalPages` of an empty list is 0. */
export function formatPagination(page: number, pageSize: number, totalItems: number): Pagination {
  const totalPages = Math.ceil(totalItems / pageSize)
  return { page, pageSize, totalItems, totalPages, hasNextPage: page < totalPages }
}

/** A time as it stands on the wire: UTC, six fractional digits, or none when they are zero (contract: lifecycle.md 0). */
export function formatTime(ms: number): string {
  const iso = new Date(ms).toISOString()
  return ms % 1000 === 0 ? `${iso.slice(0, -5)}Z` : `${iso.slice(0, -1)}000Z`
}
