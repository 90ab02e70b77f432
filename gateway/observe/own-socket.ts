// Where control asks this process for its numbers and for what is under way (lib/api/gateway-admin.ts). The socket's directory is its
// guard.

import { rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { GatewayConnections, GatewayFigures } from '../../lib/api/gateway-admin.ts'

export type OwnSocketOptions = {
  path: string
  figures: () => GatewayFigures
  connections: () => GatewayConnections
}

/** Resolves with what ends it. */
export async function serveOwnSocket({ path, figures, connections }: OwnSocketOptions): Promise<() => void> {
  const answers: Record<string, () => unknown> = { '/figures': figures, '/connections': connections }
  const server = createServer((request, response) => {
    const answer = answers[request.url ?? '']
    response.statusCode = answer ? 200 : 404
    response.setHeader('Content-Type', 'application/json')
    response.end(JSON.stringify(answer?.() ?? {}))
  })
  // What a process of the same number has left.
  rmSync(path, { force: true })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, resolve)
  })
  server.unref()
  return () => {
    server.closeAllConnections()
    server.close()
    rmSync(path, { force: true })
  }
}
