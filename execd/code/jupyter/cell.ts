// One cell's messages, turned into events. Shell and output are two channels whose order to each other nobody promises: a
// cell is over once its reply and its `idle` have both come, and what comes before that is its output, late or not.

import { isRecord } from '../../../lib/is-record.ts'
import type { CellEvent } from '../engine.ts'
import type { Message } from './message.ts'

const MAX_TRACEBACK_LINES = 1000
const MAX_LAST_WORDS = 4096

const TERMINAL_CODES = /\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-Z\\^_]/g

export class Cell {
  #replied = false
  #idle = false
  #failed = false
  #counted = false
  #aborted = false
  /** What was written to stderr last: some kernels explain a failure there and nowhere else. */
  #lastWords = ''
  /** The name of a failure that nothing was said of yet. */
  #unexplained: string | undefined

  /** Whether one of the two ends has come; then the other is not far. */
  get isEnding(): boolean {
    return this.#replied || this.#idle
  }

  get isOver(): boolean {
    return this.#replied && this.#idle
  }

  /** The kernel did not run it: some refuse everything for a moment after a failure. */
  get isAborted(): boolean {
    return this.#aborted
  }

  /** What the message says to the one who runs the cell. */
  take({ type, content }: Message): CellEvent[] {
    switch (type) {
      case 'stream':
        if (content.name === 'stderr') this.#lastWords = textOf(content.text).slice(-MAX_LAST_WORDS)
        return streamEvents(content)
      case 'execute_input':
        return this.#count(content.execution_count)
      case 'execute_result':
        return [...this.#count(content.execution_count), ...resultEvents(content.data)]
      case 'display_data':
      case 'update_display_data':
        return resultEvents(content.data)
      case 'error':
        return this.#fail(content)
      case 'execute_reply':
        return this.#reply(content)
      case 'status':
        if (content.execution_state === 'idle') this.#idle = true
        return []
      default:
        // `clear_output` among them: what has been sent cannot be taken back.
        return []
    }
  }

  #reply(content: Record<string, unknown>): CellEvent[] {
    this.#replied = true
    const counted = this.#count(content.execution_count)
    if (content.status === 'error') return [...counted, ...this.#fail(content)]
    if (content.status === 'ok' || content.status === undefined) return counted
    this.#aborted = true
    return counted
  }

  /** An error comes twice, as output and in the reply, and sometimes only in one of them. */
  #fail(content: Record<string, unknown>): CellEvent[] {
    if (this.#failed) return []
    const lines = Array.isArray(content.traceback) ? content.traceback : []
    const traceback = lines.slice(-MAX_TRACEBACK_LINES).map((line) => plainText(String(line)))
    const ename = textOf(content.ename) || 'Error'
    const evalue = plainText(textOf(content.evalue) || (traceback.length === 0 ? this.#lastWords.trim() : ''))
    // What is written goes by the other channel, and may come later.
    this.#unexplained = evalue === '' && traceback.length === 0 ? ename : undefined
    if (this.#unexplained !== undefined) return []
    this.#failed = true
    return [{ type: 'error', error: { ename, evalue, traceback } }]
  }

  /** For when it is over: a failure whose words have come after it, or not at all. */
  rest(): CellEvent[] {
    const ename = this.#unexplained
    if (ename === undefined) return []
    return [{ type: 'error', error: { ename, evalue: plainText(this.#lastWords.trim()), traceback: [] } }]
  }

  #count(count: unknown): CellEvent[] {
    if (this.#counted || typeof count !== 'number' || !Number.isInteger(count) || count <= 0) return []
    this.#counted = true
    return [{ type: 'execution_count', count }]
  }
}

function streamEvents(content: Record<string, unknown>): CellEvent[] {
  const type = content.name === 'stderr' ? 'stderr' : 'stdout'
  const text = textOf(content.text)
  return text === '' ? [] : [{ type, text }]
}

/** Results by MIME type; values that are not texts become JSON, as a client may only read texts. */
function resultEvents(data: unknown): CellEvent[] {
  if (!isRecord(data)) return []
  const results: Record<string, string> = {}
  for (const [type, value] of Object.entries(data)) {
    if (Array.isArray(value) && value.every((line) => typeof line === 'string'))
      results[type] = type.includes('json') ? JSON.stringify(value) : value.join('')
    else if (value !== null && value !== undefined)
      results[type] = typeof value === 'string' ? value : JSON.stringify(value)
  }
  return Object.keys(results).length === 0 ? [] : [{ type: 'result', results }]
}

/** Without colours and other orders to a terminal: a program reads it, or a page shows it. */
export function plainText(text: string): string {
  return text.replace(TERMINAL_CODES, '')
}

function textOf(value: unknown): string {
  if (typeof value === 'string') return value
  return value === undefined || value === null ? '' : String(value)
}
