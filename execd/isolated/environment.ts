// Which variables a session gets (contract: execd.md 8.2): those of every process of the sandbox, but for what looks like a
// secret, or as the request says.

import type { EnvPassthrough } from './request.ts'

/** Patterns of names that are left out unless the request says otherwise; in any case of letters. */
const SECRET_NAMES = [
  '*_API_KEY',
  '*_TOKEN',
  '*_SECRET',
  '*_PASSWORD',
  'AWS_*',
  'ALI_*',
  'ALIYUN_*',
  'K8S_*',
  'KUBE_*',
] // prettier-ignore

/** execd's own settings, and options of the shell that starts the session: no session gets them even if it asks. */
const OWN_NAMES = [
  'BASHOPTS',
  'EXECD_ACCESS_TOKEN',
  'EXECD_CLONE3_COMPAT',
  'EXECD_ENVS',
  'EXECD_INIT',
  'EXECD_ISOLATION_CONFIG',
  'EXECD_LIFECYCLE_CONFIG',
  'EXECD_LOG_FILE',
  'EXECD_RUNTIME_INIT',
  'JUPYTER_TOKEN',
  'OPENSANDBOX_LIFECYCLE',
  'SHELLOPTS',
] // prettier-ignore

/** The part of `env` that a session gets. */
export function sessionEnvironment(
  env: Record<string, string>,
  passthrough: EnvPassthrough | undefined,
): Record<string, string> {
  const keys = passthrough?.keys ?? []
  const isListed = (name: string) =>
    passthrough?.mode === 'allow' || keys.length > 0
      ? keys.some((key) => matchesName(key, name))
      : SECRET_NAMES.some((pattern) => matchesName(pattern, name.toUpperCase()))
  const isAllowed = (name: string) => isListed(name) === (passthrough?.mode === 'allow')
  return Object.fromEntries(
    Object.entries(env).filter(([name]) => isAllowed(name) && !OWN_NAMES.includes(name)),
  )
}

/** Whether `name` is `pattern`, in which `*` stands for anything. */
function matchesName(pattern: string, name: string): boolean {
  const [first = '', ...rest] = pattern.split('*')
  const last = rest.pop()
  if (last === undefined) return name === pattern
  if (!name.startsWith(first)) return false
  let at = first.length
  for (const part of rest) {
    const found = name.indexOf(part, at)
    if (found < 0) return false
    at = found + part.length
  }
  return name.length - last.length >= at && name.endsWith(last)
}
