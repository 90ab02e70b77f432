// What a user sees when everything is up.

import { type Config, isLoopback, needsKey } from '../lib/config.ts'

/** The lines that `npm start` ends with: where the API is, where the state lies, and a first command to paste. */
export function formatWelcome(
  config: Config,
  { keepsSandboxes, keyInEnvironment }: { keepsSandboxes: boolean; keyInEnvironment: boolean },
): string {
  const { host, port, dataDir } = config.server
  const shownHost =
    host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host.includes(':') ? `[${host}]` : host
  const url = `http://${shownHost}:${port}`
  // A key is never printed: from the environment it is named, from the file it is left to be put in.
  const shownKey = keyInEnvironment ? '$OPENSANDBOX_SERVER_API_KEY' : 'YOUR-API-KEY'
  const key = needsKey(config) ? ` \\\n    -H "OPEN-SANDBOX-API-KEY: ${shownKey}"` : ''
  const who = needsKey(config)
    ? 'needs an API key'
    : isLoopback(host)
      ? 'no API key, for this machine only'
      : ''
  return `
OpenSandbox Edge is ready.

  API        ${url}  (${who}; reference: ${url}/docs)
  Sandboxes  http://{id}-{port}.${config.ingress.domain}:${port}/
  State      ${dataDir}

A first sandbox:

  curl -s ${url}/v1/sandboxes${key} -H 'Content-Type: application/json' -d '{
    "image": {"uri": "${config.runtime.defaultImage}"}, "entrypoint": ["python3", "-m", "http.server", "8000"],
    "resourceLimits": {"cpu": "1", "memory": "512Mi"}, "timeout": 600}'

Stop with Ctrl-C; ${keepsSandboxes ? 'sandboxes go on and are there again at the next start' : 'that removes all sandboxes'}.
`
}
