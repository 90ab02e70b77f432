// The API of the one sandbox of a pod, where clients know it: at port 18080 and without a sandbox in its paths (contract: egress.md 2). The
// workload reaches it too, by the network that both share: without the token it gets no further than to see that it is there.

import type { Server } from 'node:http'
import type { Hono } from 'hono'
import { getPath } from 'hono/utils/url'
import { ApiError } from '../../lib/errors.ts'
import { createPolicyApp, type PolicyAppDeps } from '../app.ts'
import { formatError } from '../routes/policy.ts'

export type PodApi = {
  /** Answers 503 until it is opened. */
  fetch: (request: Request) => Response | Promise<Response>
  open(deps: PolicyAppDeps): void
}

/** Connections from within the pod, so that its workload cannot take them all. */
const MAX_FROM_WITHIN = 64

export function createPodApi(sandboxId: string): PodApi {
  let app: Hono | undefined
  return {
    fetch: (request) =>
      app?.fetch(request) ??
      formatError(new ApiError(503, 'NOT_READY', 'the packet rules are not in place yet')),
    open(deps) {
      app = createPolicyApp(deps, { pathOf: (request) => `/sandboxes/${sandboxId}${getPath(request)}` })
    },
  }
}

/** Ends connections from the pod's own addresses when there are too many. */
export function limitFromWithin(server: Server, isOwn: (address: string) => boolean): void {
  let count = 0
  server.on('connection', (socket) => {
    if (!isOwn(socket.remoteAddress?.replace(/^::ffff:/, '') ?? '')) return
    if (count >= MAX_FROM_WITHIN) {
      socket.destroy()
      return
    }
    count++
    socket.once('close', () => count--)
  })
}
