// POST /command, its status, its log and its end (contract: execd.md 3).

import type { ServerResponse } from 'node:http'
import { OUTPUT_LOST_HEADER, TAIL_CURSOR_HEADER } from '../../lib/api/execd.ts'
import { ApiError } from '../../lib/errors.ts'
import { answerProbe } from '../code/probe.ts'
import type { Commands } from '../command/commands.ts'
import type { Journal } from '../command/journal.ts'
import type { OutputName } from '../command/output.ts'
import { type CommandRequest, parseCommandRequest } from '../command/request.ts'
import { sendLog } from '../command/send-log.ts'
import { answerEmpty, answerJson, execdError } from '../http/answer.ts'
import { readObject } from '../http/body.ts'
import { EventStream } from '../http/event-stream.ts'
import type { Routes } from '../http/router.ts'
import { LineSplitter, unfinishedBytes } from '../lines.ts'
import type { Surroundings } from '../surroundings.ts'

const DEFAULT_LIST = 100
const MAX_LIST = 1000
const MAX_LISTED_CONTENT = 1024

export function commandRoutes(commands: Commands, surroundings: Surroundings): Routes {
  return {
    'POST /command': async ({ request, response }) => {
      const asked = parseCommandRequest(await readObject(request))
      await streamCommand(commands, answerProbe(asked, request.socket.localPort, surroundings), response)
    },

    'DELETE /command': async ({ response, query }) => {
      const id = query.get('id')
      if (!id) throw execdError('MISSING_QUERY', 'The query needs "id", the id of a command')
      await commands.interrupt(id)
      answerEmpty(response)
    },

    // An addition: a command whose client has left before it knew the id can be found and interrupted all the same.
    'GET /commands': ({ response, query }) => {
      const limit = readLimit(query)
      const running = readRunning(query)
      const wanted = commands
        .list()
        .filter((command) => running === undefined || command.running === running)
        .slice(0, limit)
        .map((command) => ({ ...command, content: command.content.slice(0, MAX_LISTED_CONTENT) }))
      answerJson(response, 200, wanted)
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
      const cursor = readCursor(query)
      const journal = commands.journal(id)
      if (!journal) throw execdError('INVALID_REQUEST_BODY', `There is no command "${id}"`)
      await answerLog(response, journal, { cursor, isRunning: commands.status(id)?.running ?? false })
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
      write: (name, bytes) => stream.isOver || stream.output(name, splitters[name].push(bytes)),
      drained: () => stream.drained(),
      lasting: false,
    },
    hasLeft: () => stream.isOver,
  })
  for (const name of ['stdout', 'stderr'] satisfies OutputName[]) stream.output(name, splitters[name].end())
  if (end.error) stream.fail(end.error)
  else stream.complete(end.durationMs)
}

/** The log from a cursor on, with the position behind it. Of a command that runs, no character is torn: its rest comes next time. */
async function answerLog(
  response: ServerResponse,
  journal: Journal,
  { cursor, isRunning }: { cursor: number; isRunning: boolean },
): Promise<void> {
  await sendLog(response, journal.open(cursor), (reading) => {
    const torn = isRunning ? unfinishedBytes(reading.tail()) : 0
    return {
      length: reading.length - torn,
      headers: {
        [TAIL_CURSOR_HEADER]: Math.max(cursor, reading.end - torn),
        ...(journal.lostError === undefined ? {} : { [OUTPUT_LOST_HEADER]: 'true' }),
      },
    }
  })
}

function readCursor(query: URLSearchParams): number {
  const cursor = Number(query.get('cursor') ?? 0)
  if (cursor < 0)
    throw execdError('INVALID_REQUEST_BODY', `"cursor" must not be negative: found ${query.get('cursor')}`)
  return Number.isSafeInteger(cursor) ? cursor : 0
}

function readLimit(query: URLSearchParams): number {
  const text = query.get('limit') ?? String(DEFAULT_LIST)
  const limit = Number(text)
  if (!Number.isInteger(limit) || limit < 1 || limit > MAX_LIST)
    throw execdError(
      'INVALID_REQUEST_BODY',
      `"limit" must be an integer from 1 to ${MAX_LIST}: found ${text.slice(0, 100)}`,
    )
  return limit
}

function readRunning(query: URLSearchParams): boolean | undefined {
  const text = query.get('running')
  if (text === null) return undefined
  if (text !== 'true' && text !== 'false')
    throw execdError('INVALID_REQUEST_BODY', `"running" must be true or false: found ${text.slice(0, 100)}`)
  return text === 'true'
}
