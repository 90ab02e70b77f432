// Shell sessions (contract: execd.md 4; an addition: the list).

import type { ServerResponse } from 'node:http'
import type { CreatedSession, SessionList } from '../../lib/api/execd-session.ts'
import { ApiError } from '../../lib/errors.ts'
import { failure } from '../command/command.ts'
import type { Family } from '../family.ts'
import { answerEmpty, answerJson } from '../http/answer.ts'
import { readObject, readOptionalObject } from '../http/body.ts'
import { EventStream } from '../http/event-stream.ts'
import { LineSplitter } from '../lines.ts'
import { parseSessionRequest, parseSessionRunRequest, type SessionRunRequest } from '../session/request.ts'
import type { Session } from '../session/session.ts'
import { Sessions } from '../session/sessions.ts'
import type { Surroundings } from '../surroundings.ts'

export function sessionFamily(surroundings: Surroundings): Family {
  const sessions = new Sessions(surroundings)
  return {
    endAll: (graceMs) => sessions.endAll(graceMs),
    interrupt: (id) => sessions.interrupt(id),
    routes: {
      'GET /sessions': ({ response }) => {
        answerJson(response, 200, { sessions: sessions.list() } satisfies SessionList)
      },

      'POST /session': async ({ request, response }) => {
        const session = await sessions.create(parseSessionRequest(await readOptionalObject(request)))
        answerJson(response, 200, { session_id: session.id } satisfies CreatedSession)
      },

      'POST /session/{sessionId}/run': async ({ request, response, params: [id = ''] }) => {
        const session = sessions.find(id)
        await streamRun(session, parseSessionRunRequest(await readObject(request)), response)
      },

      'DELETE /session/{sessionId}': async ({ response, params: [id = ''] }) => {
        await sessions.delete(id)
        answerEmpty(response)
      },
    },
  }
}

async function streamRun(
  session: Session,
  asked: SessionRunRequest,
  response: ServerResponse,
): Promise<void> {
  const stream = new EventStream(response)
  const splitters = { stdout: new LineSplitter(), stderr: new LineSplitter() }
  const left = new AbortController()
  response.once('close', () => left.abort())
  if (response.destroyed) left.abort()
  let hasBegun = false
  try {
    const end = await session.run(asked, {
      begin: () => {
        if (!hasBegun) stream.begin(session.id)
        hasBegun = true
      },
      write: (name, bytes) => stream.isOver || stream.output(name, splitters[name].push(bytes)),
      drained: () => stream.drained(),
      left: left.signal,
    })
    if (!end) return
    stream.output('stdout', splitters.stdout.end())
    stream.output('stderr', splitters.stderr.end())
    if (end.error) stream.fail(end.error)
    else stream.complete(end.durationMs)
  } catch (error) {
    // Once the stream has begun, only an event can say what is wrong.
    if (!hasBegun || !(error instanceof ApiError)) throw error
    stream.fail(failure(error.message, [error.message]))
  }
}
