// POST /command, its status, its log and its end (contract: execd.md 3).

import { createReadStream, openSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { TAIL_CURSOR_HEADER } from '../../lib/api/execd.ts'
import { ApiError } from '../../lib/errors.ts'
import type { Commands } from '../command/commands.ts'
import type { Journal } from '../command/journal.ts'
import { LineSplitter } from '../command/lines.ts'
import type { OutputName } from '../command/output.ts'
import { type CommandRequest, parseCommandRequest } from '../command/request.ts'
import { answerEmpty, answerJson, execdError } from '../http/answer.ts'
import { readObject } from '../http/body.ts'
import { EventStream } from '../http/event-stream.ts'
import type { Routes } from '../http/router.ts'

export function commandRoutes(commands: Commands): Routes {
  return {
    'POST /command': async ({ request, response }) =>
      streamCommand(commands, parseCommandRequest(await readObject(request)), response),

    'DELETE /command': async ({ response, query }) => {
      const id = query.get('id')
      if (!id) throw execdError('MISSING_QUERY', 'The query needs "id", the id of a command')
      await commands.interrupt(id)
      answerEmpty(response)
    },

    'GET /command/status/{id}': ({ response, params: [id = ''] }) => {
      const status = commands.status(id)
      if (!status)
        throw new ApiError(
          404,
          'INVALID_REQUEST_BODY',
          id ? `There is no command "${id}"` : 'missing command execution id',
        )
      answerJson(response, 200, status)
    },

    'GET /command/{id}/logs': async ({ response, params: [id = ''], query }) => {
      const cursor = Number(query.get('cursor') ?? 0)
      if (cursor < 0)
        throw execdError(
          'INVALID_REQUEST_BODY',
          `"cursor" must not be negative: found ${query.get('cursor')}`,
        )
      const journal = commands.journal(id)
      if (!journal) throw execdError('INVALID_REQUEST_BODY', `There is no background command "${id}"`)
      await answerLog(response, journal, Number.isSafeInteger(cursor) ? cursor : 0)
    },
  }
}

/** Runs a command and streams what it tells. */
export async function streamCommand(
  commands: Commands,
  asked: CommandRequest,
  response: ServerResponse,
): Promise<void> {
  const stream = new EventStream(response)
  const splitters = { stdout: new LineSplitter(), stderr: new LineSplitter() }
  const end = await commands.run(asked, {
    begin: (id) => stream.begin(id),
    output: {
      write: (name, bytes) => stream.output(name, splitters[name].push(bytes)),
      drained: () => stream.drained(),
      lasting: false,
    },
  })
  for (const name of ['stdout', 'stderr'] satisfies OutputName[]) stream.output(name, splitters[name].end())
  if (end.error) stream.fail(end.error)
  else stream.complete(end.durationMs)
}

async function answerLog(response: ServerResponse, journal: Journal, cursor: number): Promise<void> {
  // Opened at once: should the journal turn over meanwhile, an open file is still the same.
  const parts = journal.parts(cursor).map((part) => ({ ...part, fd: openSync(part.path, 'r') }))
  const length = parts.reduce((sum, part) => sum + part.end - part.start, 0)
  response.writeHead(200, {
    'Content-Type': 'text/plain; charset=utf-8',
    'Content-Length': length,
    [TAIL_CURSOR_HEADER]: Math.max(cursor, journal.end),
  })
  const read = async function* (): AsyncGenerator<Buffer> {
    for (const { fd, start, end } of parts) {
      const stream: Readable = createReadStream('', { fd, start, end: end - 1 })
      yield* stream
    }
  }
  await pipeline(read, response)
}
