// The path form of a sandbox's URL, `/sandboxes/{id}/proxy/{port}/`, in which all sandboxes and the API share one origin.

/** The `Content-Security-Policy` that gives a document an origin of nobody (docs/decisions/path-form-navigations.md). */
export const NO_ORIGIN_POLICY = 'sandbox allow-scripts allow-forms allow-popups allow-modals allow-downloads'

/** By which a browser says that it fetches the script of a service worker, and which no page can leave out. */
export const SERVICE_WORKER_FIELD = 'service-worker'
export const NO_SERVICE_WORKER =
  'No service worker can be registered by path, as all sandboxes have one origin there: open the port by its own host name'

/** What an answer cannot say by path, as it would say it of the whole origin: of the API, and of all other sandboxes. */
const ABOUT_THE_ORIGIN: ReadonlySet<string> = new Set([
  'accept-ch',
  'alt-svc',
  'clear-site-data',
  'critical-ch',
  'nel',
  'origin-agent-cluster',
  'public-key-pins',
  'report-to',
  'reporting-endpoints',
  'service-worker-allowed',
  'strict-transport-security',
])

/** The value of an answer's field as it passes by the path `prefix`; undefined when it does not. `key` is its name in lower case. */
export function confineField(key: string, value: string, prefix: string): string | undefined {
  if (ABOUT_THE_ORIGIN.has(key)) return undefined
  return key === 'set-cookie' ? confineCookie(value, prefix) : value
}

/** A cookie is kept for what is below the prefix of its sandbox, and for this very host. The last `Path` counts (RFC 6265 5.3). */
function confineCookie(value: string, prefix: string): string {
  const [pair = '', ...attributes] = value.split(';')
  const kept = attributes.filter((each) => !/^\s*(?:path|domain)\s*(?:=|$)/i.test(each))
  return [pair, ...kept, ` Path=${prefix}/`].join(';')
}
