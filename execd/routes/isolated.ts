// /v1/isolated: shells in namespaces of their own (contract: execd.md 8, v1.1.md 2.4).

import type { ServerResponse } from 'node:http'
import { ISOLATED_TAIL_CURSOR_HEADER } from '../../lib/api/execd-isolated.ts'
import { ApiError, messageOf } from '../../lib/errors.ts'
import type { Journal } from '../command/journal.ts'
import type { OutputName } from '../command/output.ts'
import { sendLog } from '../command/send-log.ts'
import type { Family } from '../family.ts'
import { answerEmpty, answerJson, execdError } from '../http/answer.ts'
import { readObject } from '../http/body.ts'
import { EventStream } from '../http/event-stream.ts'
import type { Exchange } from '../http/router.ts'
import { withEnvironment } from '../isolated/code.ts'
import { commitSession } from '../isolated/commit.ts'
import { diffSession } from '../isolated/diff.ts'
import { formatCapabilities } from '../isolated/probe.ts'
import { parseRunRequest, parseSessionRequest, type RunRequest } from '../isolated/request.ts'
import type { ForegroundEnd, IsolatedSession } from '../isolated/session.ts'
import { type Entry, IsolatedSessions } from '../isolated/sessions.ts'
import { ShellGone } from '../isolated/shell.ts'
import { LineSplitter } from '../lines.ts'
import type { Surroundings } from '../surroundings.ts'

/** The most of a log that one answer carries. */
const MAX_LOG_BYTES = 16 << 20

export function isolatedFamily(surroundings: Surroundings): Family {
  const sessions = new IsolatedSessions(surroundings)
  /** A route of one session; where there are none, that is what its client hears. */
  const ofSession =
    (handle: (entry: Entry, exchange: Exchange) => void | Promise<void>) => async (exchange: Exchange) => {
      await sessions.requireIsolator()
      await handle(sessions.find(exchange.params[0] ?? ''), exchange)
    }

  const filesOfSession = ofSession(({ session, files }, { request, response, query }) => {
    const path = (request.url ?? '').replace(/^\/v1\/isolated\/session\/[^/]*/, '')
    // Clients read the counts of replacements in a session without asking for them, as its specification has no other answer.
    const isSilent = path.startsWith('/files/replace') && !query.has('verbose')
    const asked = isSilent ? `${path}${path.includes('?') ? '&' : '?'}verbose=true` : path
    return session.use(() => files.forward(request, response, asked))
  })

  return {
    endAll: () => sessions.closeAll(),
    routes: {
      'GET /v1/isolated/capabilities': async ({ response }) =>
        answerJson(response, 200, formatCapabilities(await sessions.probe())),

      'GET /v1/isolated/sessions': async ({ response }) => {
        await sessions.requireIsolator()
        answerJson(response, 200, { sessions: sessions.list() })
      },

      'POST /v1/isolated/session': async ({ request, response }) => {
        await sessions.requireIsolator()
        const session = await sessions.create(parseSessionRequest(await readObject(request)))
        answerJson(response, 201, session.describe())
      },

      'GET /v1/isolated/session/{id}': ofSession(({ session }, { response }) =>
        answerJson(response, 200, session.describe()),
      ),

      'DELETE /v1/isolated/session/{id}': ofSession(async ({ session }, { response }) => {
        await sessions.remove(session.id)
        answerEmpty(response)
      }),

      'POST /v1/isolated/session/{id}/run': ofSession(async ({ session, runs }, { request, response }) => {
        const asked = parseRunRequest(await readObject(request))
        if (!asked.background) return runInForeground(session, asked, response)
        const [first] = session.spec.plan.mounts
        if (first?.mode === 'ro' || !first?.persist)
          throw execdError(
            'INVALID_REQUEST_BODY',
            `Nothing can run in the background of a session whose first mount "${first?.path}" is read-only or not kept`,
          )
        answerJson(response, 202, {
          session_id: session.id,
          ...runs.start(withEnvironment(asked.code, asked.envs)),
        })
      }),

      'GET /v1/isolated/session/{id}/runs/{runId}': ofSession(({ runs }, { response, params }) =>
        answerJson(response, 200, runs.status(params[1] ?? '')),
      ),

      'GET /v1/isolated/session/{id}/runs/{runId}/logs': ofSession(({ runs }, { response, params, query }) =>
        answerLog(response, runs.journal(params[1] ?? ''), readCursor(query)),
      ),

      'GET /v1/isolated/session/{id}/diff': ofSession(async ({ session }, { response }) => {
        await sessions.requireOverlays()
        answerJson(response, 200, { session_id: session.id, changes: await diffSession(session) })
      }),

      'POST /v1/isolated/session/{id}/commit': ofSession(async ({ session, runs }, { request, response }) => {
        await sessions.requireOverlays()
        request.resume()
        if (runs.running > 0)
          throw new ApiError(
            409,
            'CONFLICT',
            `Cannot commit while ${runs.running} runs are in the background of the session: it would end them`,
          )
        answerJson(response, 200, { session_id: session.id, changes: await commitSession(session) })
      }),

      '* /v1/isolated/session/{id}/files': filesOfSession,
      '* /v1/isolated/session/{id}/directories': filesOfSession,
    },
  }
}

async function runInForeground(
  session: IsolatedSession,
  { code, envs, timeoutMs }: RunRequest,
  response: ServerResponse,
): Promise<void> {
  const whole = withEnvironment(code, envs)
  const stream = new EventStream(response)
  const splitters = { stdout: new LineSplitter(), stderr: new LineSplitter() }
  const left = new AbortController()
  response.once('close', () => left.abort())
  let startedAt = performance.now()
  const running = session.run({
    code: whole,
    begin: () => {
      startedAt = performance.now()
    },
    signal: left.signal,
    sink: {
      write: (name, bytes) => stream.isOver || stream.output(name, splitters[name].push(bytes)),
      drained: () => stream.drained(),
      lasting: false,
    },
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
  })
  // At once, so that a client that waits for its turn hears that we are there.
  stream.begin(session.id)
  let end: ForegroundEnd | undefined
  let problem = 'unknown'
  try {
    end = await running
  } catch (error) {
    // The stream has begun: whatever it was, its client hears it there.
    problem = [messageOf(error), session.describe().message].filter(Boolean).join(': ')
    if (!(error instanceof ShellGone))
      session.spec.surroundings.log.error('a run in an isolated session failed', {
        session: session.id,
        error,
      })
  }
  for (const name of ['stdout', 'stderr'] satisfies OutputName[]) stream.output(name, splitters[name].end())
  if (!end) stream.fail({ ename: 'RuntimeError', evalue: problem, traceback: [problem] })
  else if (end.exitCode === 0 && !end.stopped) stream.complete(performance.now() - startedAt)
  else stream.fail(describeFailure(end, timeoutMs))
}

function describeFailure({ exitCode, isNewShell, stopped }: ForegroundEnd, timeoutMs: number | undefined) {
  const traceback = [
    stopped === 'timeout'
      ? `timed out after ${(timeoutMs ?? 0) / 1000} s`
      : stopped
        ? 'cancelled'
        : `exit status ${exitCode}`,
    ...(isNewShell ? ['the shell ended with it: the session goes on with a new one'] : []),
  ]
  // What a timeout ended has failed, whatever the code made of it.
  return { ename: 'ExitError', evalue: String(stopped ? -1 : exitCode), traceback }
}

async function answerLog(response: ServerResponse, journal: Journal, cursor: number): Promise<void> {
  await sendLog(response, journal.open(cursor), (reading) => {
    const length = Math.min(reading.length, MAX_LOG_BYTES)
    return {
      length,
      headers: { [ISOLATED_TAIL_CURSOR_HEADER]: Math.max(cursor, reading.end - reading.length + length) },
    }
  })
}

function readCursor(query: URLSearchParams): number {
  const text = query.get('cursor') ?? '0'
  const cursor = /^\d{1,15}$/.test(text) ? Number(text) : -1
  if (cursor < 0)
    throw execdError(
      'INVALID_REQUEST_BODY',
      `"cursor" must be an integer from 0 on: found "${text.slice(0, 100)}"`,
    )
  return cursor
}
