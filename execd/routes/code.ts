// Code contexts (contract: execd.md 1.2, 2, 7).

import type { ServerResponse } from 'node:http'
import type { CodeContextInfo } from '../../lib/api/execd-code.ts'
import { type CodeContext, ContextBusy } from '../code/context.ts'
import { CodeContexts } from '../code/contexts.ts'
import { toStreamEvents } from '../code/events.ts'
import {
  isShell,
  parseContextLanguage,
  parseContextRequest,
  parseRunRequest,
  type RunRequest,
} from '../code/request.ts'
import type { Commands } from '../command/commands.ts'
import type { Family } from '../family.ts'
import { answerEmpty, answerJson, execdError } from '../http/answer.ts'
import { readObject } from '../http/body.ts'
import { EventStream } from '../http/event-stream.ts'
import type { Surroundings } from '../surroundings.ts'
import { streamCommand } from './commands.ts'

export function codeFamily(surroundings: Surroundings, commands: Commands): Family {
  const contexts = new CodeContexts(surroundings)
  return {
    endAll: (graceMs) => contexts.endAll(graceMs),
    interrupt: (id) => contexts.interrupt(id),
    routes: {
      'POST /code': async ({ request, response }) => {
        const asked = parseRunRequest(await readObject(request))
        const { contextId, language } = asked
        // Without a language it is a command line, unless it names a context that is there.
        if (language === undefined ? !contextId || !contexts.has(contextId) : isShell(language)) {
          await streamCommand(commands, toCommand(asked), response)
          return
        }
        const context =
          contextId || language === undefined || isShell(language)
            ? contexts.get(contextId ?? '')
            : await contexts.defaultOf(language, asked.cwd)
        await streamRun(context, asked, response)
      },

      'DELETE /code': async ({ response, query }) => {
        const id = query.get('id')
        if (!id)
          throw execdError('MISSING_QUERY', 'The query needs "id", the id of a context, run or command')
        if (!(await contexts.interrupt(id))) await commands.interrupt(id)
        answerEmpty(response)
      },

      'POST /code/context': async ({ request, response }) => {
        const spec = parseContextRequest(await readObject(request))
        const context = await contexts.create(spec, leaving(response))
        answerJson(response, 200, toInfo(context))
      },

      'GET /code/contexts': ({ response, query }) => {
        const language = query.get('language')
        const found = contexts.list(language ? parseContextLanguage(language) : undefined)
        answerJson(response, 200, found.map(toInfo))
      },

      'DELETE /code/contexts': async ({ response, query }) => {
        const language = query.get('language')
        if (!language) throw execdError('MISSING_QUERY', 'The query needs "language"')
        await contexts.deleteAll(parseContextLanguage(language))
        answerEmpty(response)
      },

      'GET /code/contexts/{contextId}': ({ response, params: [id = ''] }) =>
        answerJson(response, 200, toInfo(contexts.get(id))),

      'DELETE /code/contexts/{contextId}': async ({ response, params: [id = ''] }) => {
        await contexts.delete(id)
        answerEmpty(response)
      },
    },
  }
}

async function streamRun(
  context: CodeContext,
  { code, timeoutMs }: RunRequest,
  response: ServerResponse,
): Promise<void> {
  const stream = new EventStream(response)
  try {
    const { durationMs } = await context.run(code, {
      begin: (id) => stream.begin(context.id, { execution_id: id }),
      sink: (event) => {
        if (!stream.send(toStreamEvents(event, Date.now()))) return stream.drained()
      },
      left: leaving(response),
      ...(timeoutMs ? { timeoutMs } : {}),
    })
    stream.complete(durationMs)
  } catch (error) {
    if (!(error instanceof ContextBusy)) throw error
    // Clients that retry look for its words in an event and not in an answer.
    stream.begin(context.id)
    const busy = { ename: 'RUNTIME_ERROR', evalue: error.message, traceback: [error.message] }
    stream.send(toStreamEvents({ type: 'error', error: busy }, Date.now()))
    stream.complete(0)
  }
}

function toCommand({ code, language, cwd, timeoutMs }: RunRequest) {
  return {
    run: { line: code },
    background: language === 'background-command',
    envs: {},
    ...(cwd ? { cwd } : {}),
    ...(timeoutMs ? { timeoutMs } : {}),
  }
}

function toInfo({ id, language, cwd }: CodeContext): CodeContextInfo {
  return { id, language, ...(cwd === undefined ? {} : { cwd }) }
}

/** Aborted when the client leaves before it has its whole answer. */
function leaving(response: ServerResponse): AbortSignal {
  const controller = new AbortController()
  if (response.closed) controller.abort()
  else response.once('close', () => controller.abort())
  return controller.signal
}
