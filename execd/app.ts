// All routes of execd. What the contract knows and this execd does not do answers NOT_SUPPORTED, so that a client can tell
// it from a mistyped path.

import { answerEmpty, answerJson, execdError } from './http/answer.ts'
import type { Handler, Routes } from './http/router.ts'

export type AppOptions = {
  commands: Routes
  /** Loads the routes below `/files` and `/directories`: not needed to start, and half as much again to load. */
  loadFiles: () => Promise<Routes>
}

const FILE_ROUTES = [
  'GET /files/info',
  'DELETE /files',
  'POST /files/mv',
  'POST /files/permissions',
  'GET /files/search',
  'POST /files/replace',
  'POST /files/upload',
  'GET /files/download',
  'GET /directories/list',
  'POST /directories',
  'DELETE /directories',
]

/** Puts the routes together. */
export function createRoutes({ commands, loadFiles }: AppOptions): Routes {
  let files: Promise<Routes> | undefined
  const lateFile =
    (route: string): Handler =>
    async (exchange) => {
      files ??= loadFiles()
      await (await files)[route]?.(exchange)
    }
  return {
    'GET /ping': ({ response }) => answerEmpty(response),
    ...commands,
    ...Object.fromEntries(FILE_ROUTES.map((route) => [route, lateFile(route)])),
    'GET /v1/isolated/capabilities': ({ response }) =>
      answerJson(response, 200, {
        available: false,
        isolator: '',
        version: '',
        message: 'isolation unavailable',
        setpriv_available: false,
        userns_available: false,
        commit_supported: false,
        diff_supported: false,
      }),
    '* /v1/isolated': () => {
      throw execdError('SERVICE_UNAVAILABLE', 'isolation unavailable')
    },
    '* /session': notSupported('Shell sessions'),
    '* /code': notSupported('Code contexts'),
    '* /pty': notSupported('Terminals'),
    '* /metrics': notSupported('Metrics'),
    '* /proxy': notSupported('The proxy inside the sandbox'),
    '* /v1/filesystem': notSupported('File access as another user'),
  }
}

function notSupported(what: string): Handler {
  return () => {
    throw execdError('NOT_SUPPORTED', `${what} cannot be used here yet`)
  }
}
