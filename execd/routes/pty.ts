// Terminals (contract: execd.md 5; an addition: the list).
//
// The `Origin` of a WebSocket is not looked at. What it would keep out, pages of other sites in a browser, cannot send the header
// with the token, which every route wants before any other question; and programs do send an `Origin`, of any kind.

import { WebSocketServer } from 'ws'
import type { PtyList } from '../../lib/api/execd-pty.ts'
import { messageOf } from '../../lib/errors.ts'
import type { Family } from '../family.ts'
import { answerEmpty, answerJson, execdError } from '../http/answer.ts'
import { readOptionalObject } from '../http/body.ts'
import { parseConnectRequest, parsePtyRequest } from '../pty/request.ts'
import { type PtyOptions, PtySessions } from '../pty/sessions.ts'
import type { Surroundings } from '../surroundings.ts'

/** A frame is held whole before it is read. */
const MAX_FRAME_BYTES = 8 << 20

export function ptyFamily(surroundings: Surroundings, options?: PtyOptions): Family {
  const { log } = surroundings
  const sessions = new PtySessions(surroundings, options)
  const server = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: MAX_FRAME_BYTES,
  })
  return {
    endAll: (graceMs) => sessions.endAll(graceMs),
    routes: {
      'GET /pty': ({ response }) => {
        answerJson(response, 200, { sessions: sessions.list() } satisfies PtyList)
      },

      'POST /pty': async ({ request, response }) => {
        const session = sessions.create(parsePtyRequest(await readOptionalObject(request)))
        answerJson(response, 201, { session_id: session.id })
      },

      'GET /pty/{sessionId}': ({ response, params: [id = ''] }) => {
        answerJson(response, 200, sessions.find(id).status())
      },

      'DELETE /pty/{sessionId}': async ({ response, params: [id = ''] }) => {
        await sessions.delete(id)
        answerEmpty(response)
      },

      'GET /pty/{sessionId}/ws': ({ params: [id = ''] }) => {
        // Without an upgrade nothing can be taken over, whatever the query says.
        sessions.find(id).admit({ isTakeover: false, isViewer: false })
        throw execdError('INVALID_REQUEST_BODY', 'This route needs an upgrade to WebSocket')
      },

      'UPGRADE /pty/{sessionId}/ws': ({ request, upgrade, query, params: [id = ''] }) => {
        const session = sessions.find(id)
        const asked = parseConnectRequest(query)
        session.admit(asked)
        if (!upgrade) throw new Error('An upgrade has no socket')
        const { socket, head } = upgrade.take()
        // A handshake that is wrong is answered here, and has changed nothing.
        server.handleUpgrade(request, socket, head, (ws) => {
          session.connect(ws, socket, asked).catch((error: unknown) => {
            log.error('a connection to a terminal failed', { session: session.id, error: messageOf(error) })
            ws.terminate()
          })
        })
      },
    },
  }
}
