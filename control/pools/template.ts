// The shape of a pool's sandboxes as it is given: as a create request, or as the pod template that pools of a cluster have
// (contract: lifecycle.md 7.4). What can be read becomes a create request; what cannot is refused, because a pool that quietly
// leaves out a mount or a security setting hands out something else than what was asked for.

import { type CreateRequest, createRequestSchema } from '../../lib/api/lifecycle.ts'
import { describeIssues } from '../../lib/api/lifecycle-coerce.ts'
import { invalid } from '../body.ts'
import { refusal } from '../errors.ts'
import { IDLE_ENTRYPOINT, ISOLATION_EXTENSION } from '../sandbox/plan.ts'
import { PULL_POLICY_EXTENSION } from '../sandbox/pull-policy.ts'

export type PoolShape = { request: CreateRequest; warnings: string[] }

const PLAIN_FIELDS = [
  'image',
  'entrypoint',
  'resourceLimits',
  'env',
  'networkPolicy',
  'volumes',
  'lifecycle',
  'extensions',
]
const POD_FIELDS: Record<string, Use> = {
  containers: 'read',
  initContainers: 'read',
  volumes: 'read',
  restartPolicy: 'ignored',
  tolerations: 'ignored',
  terminationGracePeriodSeconds: 'ignored',
  enableServiceLinks: 'ignored',
  automountServiceAccountToken: 'ignored',
}
const CONTAINER_FIELDS: Record<string, Use> = {
  name: 'read',
  image: 'read',
  command: 'read',
  args: 'read',
  env: 'read',
  resources: 'read',
  volumeMounts: 'read',
  ports: 'ignored',
  imagePullPolicy: 'read',
}
/** What is said of all sandboxes of a pool. */
const OWN_EXTENSIONS = [ISOLATION_EXTENSION, PULL_POLICY_EXTENSION]
/** Init containers that bring what every sandbox here has anyway. */
const INSTALLERS = ['execd-installer', 'task-executor-installer']

type Use = 'read' | 'ignored'

/** Reads a pool's template. Throws a refusal that names the field. */
export function readPoolTemplate(template: Record<string, unknown>): PoolShape {
  const warnings: string[] = []
  const draft = 'spec' in template ? readPod(template, warnings) : readPlain(template)
  const parsed = createRequestSchema.safeParse({ entrypoint: IDLE_ENTRYPOINT, resourceLimits: {}, ...draft })
  if (!parsed.success)
    throw invalid(
      describeIssues(parsed.error, 'body').map(({ loc: [where = 'body', ...rest], ...issue }) => ({
        ...issue,
        loc: [where, 'template', ...rest],
      })),
    )
  const { image, extensions = {} } = parsed.data
  if (image?.auth)
    refuse('image.auth', 'is not kept: name an image that this machine can fetch without a login')
  const foreign = Object.keys(extensions).find((name) => !OWN_EXTENSIONS.includes(name))
  if (foreign !== undefined)
    refuse(
      `extensions["${foreign.slice(0, 100)}"]`,
      `is the create's: only ${OWN_EXTENSIONS.map((name) => `"${name}"`).join(' and ')} are read`,
    )
  return { request: parsed.data, warnings }
}

function readPlain(template: Record<string, unknown>): Record<string, unknown> {
  const draft: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(template)) {
    const name = key.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())
    if (!PLAIN_FIELDS.includes(name))
      refuse(
        key.slice(0, 100),
        `cannot be read: allowed are ${PLAIN_FIELDS.join(', ')}, or a pod template with "spec"`,
      )
    draft[name] = name === 'image' && typeof value === 'string' ? { uri: value } : value
  }
  return draft
}

function readPod(template: Record<string, unknown>, warnings: string[]): Record<string, unknown> {
  for (const key of Object.keys(template))
    if (key !== 'spec' && key !== 'metadata') refuse(key.slice(0, 100), 'cannot be read beside "spec"')
  if ('metadata' in template) warnings.push('template.metadata has no effect on this runtime')
  const spec = asObject(template.spec, 'spec')
  checkFields(spec, POD_FIELDS, 'spec', warnings)
  for (const [index, container] of asList(spec.initContainers ?? [], 'spec.initContainers').entries()) {
    const where = `spec.initContainers[${index}]`
    if (!INSTALLERS.includes(String(asObject(container, where).name)))
      refuse(where, `cannot be run: only ${INSTALLERS.join(' and ')} are known, which are not needed here`)
    warnings.push(`template.${where} has no effect: every sandbox has what it installs`)
  }
  const emptyVolumes = readVolumes(spec.volumes ?? [])
  const containers = asList(spec.containers ?? [], 'spec.containers')
  if (containers.length !== 1)
    refuse('spec.containers', `must have one container, as a sandbox is one: it has ${containers.length}`)
  const where = 'spec.containers[0]'
  const container = asObject(containers[0], where)
  checkFields(container, CONTAINER_FIELDS, where, warnings)
  for (const [index, mount] of asList(container.volumeMounts ?? [], `${where}.volumeMounts`).entries())
    if (!emptyVolumes.has(asObject(mount, `${where}.volumeMounts[${index}]`).name))
      refuse(`${where}.volumeMounts[${index}].name`, 'must be the name of an emptyDir of spec.volumes')
  if (container.volumeMounts !== undefined)
    warnings.push('template.spec.volumes of emptyDir have no effect: the sandbox has its own file system')
  if (container.args !== undefined && container.command === undefined)
    refuse(`${where}.args`, "needs command beside it: the image's own entrypoint is not run here")
  const words = [container.command ?? [], container.args ?? []].flat()
  return {
    image: { uri: container.image },
    ...(container.imagePullPolicy !== undefined && {
      extensions: { [PULL_POLICY_EXTENSION]: container.imagePullPolicy },
    }),
    ...(words.length > 0 && { entrypoint: words }),
    env: readEnv(container.env ?? [], `${where}.env`),
    resourceLimits: readLimits(container.resources ?? {}, `${where}.resources`, warnings),
  }
}

function readVolumes(value: unknown): Set<unknown> {
  const names = new Set<unknown>()
  for (const [index, item] of asList(value, 'spec.volumes').entries()) {
    const volume = asObject(item, `spec.volumes[${index}]`)
    if (!('emptyDir' in volume))
      refuse(`spec.volumes[${index}]`, 'must be an emptyDir: others cannot be mounted from a pod template')
    names.add(volume.name)
  }
  return names
}

function readEnv(value: unknown, where: string): Record<string, unknown> {
  return Object.fromEntries(
    asList(value, where).map((item, index) => {
      const { name, value: text, ...more } = asObject(item, `${where}[${index}]`)
      const [other] = Object.keys(more)
      if (typeof name !== 'string' || other !== undefined)
        refuse(`${where}[${index}]`, 'must have "name" and "value" and nothing else')
      return [name, text ?? '']
    }),
  )
}

function readLimits(value: unknown, where: string, warnings: string[]): Record<string, string> {
  const { limits = {}, requests, ...more } = asObject(value, where)
  const [other] = Object.keys(more)
  if (other !== undefined) refuse(`${where}.${other.slice(0, 100)}`, 'cannot be read: allowed is limits')
  if (requests !== undefined) warnings.push(`template.${where}.requests has no effect on this runtime`)
  return Object.fromEntries(
    Object.entries(asObject(limits, `${where}.limits`)).map(([name, amount]) => {
      if (typeof amount !== 'string' && typeof amount !== 'number')
        refuse(`${where}.limits.${name.slice(0, 100)}`, 'must be an amount such as "500m" or "512Mi"')
      return [name, String(amount)]
    }),
  )
}

function checkFields(
  given: Record<string, unknown>,
  known: Record<string, Use>,
  where: string,
  warnings: string[],
): void {
  for (const key of Object.keys(given)) {
    const use = Object.hasOwn(known, key) ? known[key] : undefined
    if (use === undefined)
      refuse(`${where}.${key.slice(0, 100)}`, `cannot be read: allowed are ${Object.keys(known).join(', ')}`)
    if (use === 'ignored') warnings.push(`template.${where}.${key} has no effect on this runtime`)
  }
}

function asObject(value: unknown, where: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return refuse(where, 'must be an object')
  return value as Record<string, unknown>
}

function asList(value: unknown, where: string): unknown[] {
  return Array.isArray(value) ? value : refuse(where, 'must be a list')
}

function refuse(field: string, message: string): never {
  throw refusal('SANDBOX::INVALID_PARAMETER', `template.${field} ${message}`)
}
