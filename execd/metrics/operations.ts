// What a finished request was, in the words of the contract's histograms (execd.md 9.2). Pure.

import type { Seen } from '../http/router.ts'

export type Operation =
  | { histogram: 'execution'; operation: 'run_command' | 'run_in_session' | 'run_code' }
  | { histogram: 'filesystem'; operation: string }
  | { histogram: 'isolation' }

const EXECUTIONS: Record<string, 'run_command' | 'run_in_session' | 'run_code'> = {
  'POST /command': 'run_command',
  'POST /session/{sessionId}/run': 'run_in_session',
  'POST /code': 'run_code',
}
const FILES: Record<string, string> = {
  'GET /files/info': 'info',
  'DELETE /files': 'delete',
  'POST /files/permissions': 'chmod',
  'POST /files/mv': 'rename',
  'POST /directories': 'mkdir',
  'DELETE /directories': 'rmdir',
  'GET /directories/list': 'listdir',
  'GET /files/search': 'search',
  'POST /files/replace': 'replace',
  'GET /files/download': 'download',
  'POST /files/upload': 'upload',
}
/** The same file routes as another user, and runs in an isolated session: families that find their routes themselves. */
const AS_USER = /^\/v1\/filesystem\/[^/]+\/[^/]+(\/.*)$/
const ISOLATED_RUN = /^\/v1\/isolated\/session\/[^/]+\/run$/

/** What was done, when it is one of those that are measured. */
export function operationOf({ method, path, route = '' }: Seen): Operation | undefined {
  const execution = EXECUTIONS[route]
  if (execution) return { histogram: 'execution', operation: execution }
  const operation = FILES[route] ?? FILES[`${method} ${AS_USER.exec(path)?.[1]}`]
  if (operation) return { histogram: 'filesystem', operation }
  return method === 'POST' && ISOLATED_RUN.test(path) ? { histogram: 'isolation' } : undefined
}

/** The path of the route, with its parameters left open; never what a client made up. */
export function routeTemplateOf({ route }: Seen): string {
  return route?.split(' ')[1] ?? 'unknown'
}
