// The file routes under another identity (contract: v1.1.md 2.3): `/v1/filesystem/{uid}/{gid}` and a plain file route.

import type { Family } from '../family.ts'
import { IdentityFiles } from '../files/identity.ts'
import { answerText, execdError } from '../http/answer.ts'
import type { Surroundings } from '../surroundings.ts'
import { MAX_USER_ID } from '../users.ts'
import { fileFamily } from './files.ts'

export function filesystemFamily(surroundings: Surroundings): Family {
  const files = new IdentityFiles(surroundings)
  // Only asked what there is: nothing is answered by execd itself.
  const { routes } = fileFamily(surroundings)
  return {
    endAll: (graceMs) => files.endAll(graceMs),
    routes: {
      '* /v1/filesystem/{uid}/{gid}': async (exchange) => {
        const { request, response, params } = exchange
        const [uid, gid] = ['uid', 'gid'].map((name, index) => parseId(name, params[index] ?? ''))
        const path = (request.url ?? '').replace(/^\/v1\/filesystem\/[^/?]*\/[^/?]*/, '')
        if (!(`${request.method} ${path.split('?')[0]}` in routes))
          return answerText(response, 404, '404 page not found')
        await files.serve(exchange, surroundings.identity(uid, gid), path)
      },
    },
  }
}

function parseId(name: string, text: string): number {
  const id = /^\d{1,10}$/.test(text) ? Number(text) : -1
  if (id >= 0 && id <= MAX_USER_ID) return id
  throw execdError(
    'INVALID_REQUEST_BODY',
    `The ${name} in the path must be an integer from 0 to ${MAX_USER_ID}: found "${text.slice(0, 50)}"`,
  )
}
