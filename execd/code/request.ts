// What a client may ask of code contexts (contract: execd.md 1.2, 7.1), checked field by field.

import { parseEnvs } from '../command/request.ts'
import { execdError } from '../http/answer.ts'
import { asObject, type Body, field, optionalInteger, optionalText } from '../http/body.ts'
import { LANGUAGES, type Language } from './engine.ts'

/** Languages by the name of which a command line is run. */
const SHELL_LANGUAGES = ['command', 'background-command'] as const
/** Contexts of no name: what lists them is refused. */
const WITHOUT_CONTEXTS: readonly string[] = [...SHELL_LANGUAGES, 'sql']

export type ContextSpec = { language: Language; cwd?: string; envs: Record<string, string> }

export type RunRequest = {
  code: string
  contextId?: string
  language?: Language | (typeof SHELL_LANGUAGES)[number]
  cwd?: string
  /** Absent: no limit. */
  timeoutMs?: number
}

/** Reads the body of `POST /code/context`. */
export function parseContextRequest(body: Body): ContextSpec {
  const language = optionalText(body, 'language')
  if (!language) throw execdError('INVALID_REQUEST_BODY', `"language" must be one of ${LANGUAGES.join(', ')}`)
  const cwd = optionalText(body, 'cwd')
  return { language: parseLanguage(language), envs: parseEnvs(field(body, 'envs')), ...(cwd ? { cwd } : {}) }
}

/** Reads the body of `POST /code`. */
export function parseRunRequest(body: Body): RunRequest {
  const code = optionalText(body, 'code')
  if (!code) throw execdError('INVALID_REQUEST_BODY', '"code" must be a text that is not empty')
  const context = field(body, 'context')
  const asked = context === undefined ? {} : asObject(context, 'context')
  const contextId = optionalText(asked, 'id')
  const language = optionalText(asked, 'language')
  const cwd = optionalText(asked, 'cwd')
  const timeoutMs = optionalInteger(body, 'timeout')
  return {
    code,
    ...(contextId ? { contextId } : {}),
    ...(language ? { language: isShell(language) ? language : parseLanguage(language) } : {}),
    ...(cwd ? { cwd } : {}),
    ...(timeoutMs ? { timeoutMs } : {}),
  }
}

/** The language whose contexts are asked for. */
export function parseContextLanguage(language: string): Language {
  if (WITHOUT_CONTEXTS.includes(language))
    throw execdError('RUNTIME_ERROR', `There are no contexts of "${language}"`)
  return parseLanguage(language)
}

export function isShell(language: string): language is (typeof SHELL_LANGUAGES)[number] {
  return SHELL_LANGUAGES.some((name) => name === language)
}

function parseLanguage(text: string): Language {
  const language = LANGUAGES.find((name) => name === text.toLowerCase())
  if (language) return language
  const shown = text.slice(0, 100)
  throw execdError(
    'INVALID_REQUEST_BODY',
    `unknown language: ${shown}. "language" must be one of ${LANGUAGES.join(', ')}`,
  )
}
