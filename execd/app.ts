// All routes of execd. What the contract knows and this execd does not do answers NOT_SUPPORTED, so that a client can tell
// it from a mistyped path.

import { answerEmpty, answerJson, execdError } from './http/answer.ts'
import type { Handler, Routes } from './http/router.ts'

export type AppOptions = { commands: Routes; files: Routes }

/** Puts the routes together. */
export function createRoutes({ commands, files }: AppOptions): Routes {
  return {
    'GET /ping': ({ response }) => answerEmpty(response),
    ...commands,
    ...files,
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
