import type { z } from 'zod'
import type { SchemaName } from './schemas.ts'

/** Another form than JSON in which an answer may come. */
export const TEXT_TYPES = { text: 'text/plain', events: 'text/event-stream', page: 'text/html' } as const

/** One route as the description of the API has it. */
export type Operation = {
  method: 'get' | 'head' | 'post' | 'put' | 'patch' | 'delete'
  /** With `/v1` where there is a route with and one without it. */
  path: string
  id: string
  summary: string
  tag: string
  body?: SchemaName
  /** Whether the body may be left out. */
  isBodyOptional?: boolean
  query?: z.ZodType
  /** Headers that it reads, and what for. */
  headers?: Record<string, string>
  /** By status: what it means, the schema of the JSON, and what may come in its place. */
  answers: Record<number, [string, (SchemaName | undefined)?, (keyof typeof TEXT_TYPES)?]>
  /** Whether no key is asked for. */
  open?: boolean
}
