// References of images as Docker reads them: what is left out is filled in, so that two ways to write one image are one name here.

export type Reference = {
  /** `host[:port]` */
  registry: string
  repository: string
  /** What names one content for ever. */
  digest?: string
  /** Present when there is no digest: beside one, a tag says nothing. */
  tag?: string
}

export type ParsedReference = { reference: Reference } | { problem: string }

const DEFAULT_REGISTRY = 'docker.io'
const ALSO_DEFAULT = ['index.docker.io', 'registry-1.docker.io']
const MAX_LENGTH = 512
const HOST =
  /^(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?\.)*[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?::\d{1,5})?$/
const PART = /^[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*$/
const TAG = /^\w[\w.-]{0,127}$/
const DIGEST = /^sha256:[0-9a-f]{64}$/

/** The parts of a reference, or in words what is wrong with it. */
export function parseReference(text: string): ParsedReference {
  if (text.length > MAX_LENGTH) return { problem: `it is longer than ${MAX_LENGTH} characters` }
  const [named = '', digest, ...more] = text.split('@')
  if (more.length > 0 || (digest !== undefined && !DIGEST.test(digest)))
    return { problem: 'what follows "@" must be "sha256:" and 64 digits from 0 to f' }
  const { registry, path } = splitRegistry(named)
  if (!HOST.test(registry)) return { problem: `"${registry}" is no host of a registry` }
  const at = path.lastIndexOf(':')
  const repository = at < 0 ? path : path.slice(0, at)
  const tag = at < 0 ? 'latest' : path.slice(at + 1)
  if (!TAG.test(tag)) return { problem: `"${tag}" is no tag` }
  const bad = repository.split('/').find((part) => !PART.test(part))
  if (bad !== undefined)
    return {
      problem: /[A-Z]/.test(bad)
        ? `"${bad}" has capital letters, which no repository has`
        : `"${bad}" is no part of a repository's name`,
    }
  const isOfficial = registry === DEFAULT_REGISTRY && !repository.includes('/')
  const full = isOfficial ? `library/${repository}` : repository
  return { reference: { registry, repository: full, ...(digest === undefined ? { tag } : { digest }) } }
}

/** The reference written in full. */
export function formatReference({ registry, repository, tag, digest }: Reference): string {
  return `${registry}/${repository}${digest === undefined ? `:${tag}` : `@${digest}`}`
}

/** The same image by what its registry calls its content. */
export function pinned({ registry, repository }: Reference, digest: string): string {
  return formatReference({ registry, repository, digest })
}

/** The registry of a name; what Docker takes for a part of the path belongs to the default one. */
function splitRegistry(named: string): { registry: string; path: string } {
  const at = named.indexOf('/')
  const first = named.slice(0, Math.max(at, 0))
  if (!/[.:]/.test(first) && first !== 'localhost') return { registry: DEFAULT_REGISTRY, path: named }
  const path = named.slice(at + 1)
  return { registry: ALSO_DEFAULT.includes(first) ? DEFAULT_REGISTRY : first, path }
}
