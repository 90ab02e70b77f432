// The messages of a kernel process, checked: they come from where code of users runs.

/** Nothing that an honest kernel says is longer. */
const MAX_MESSAGE_BYTES = 64 << 20
const LF = 0x0a

export type KernelMessage =
  | { op: 'ready'; tellInterrupts?: boolean }
  | { op: 'sync'; id: number }
  | { op: 'count'; cell: number; count: number }
  | { op: 'result'; cell: number; data: Record<string, string> }
  | { op: 'error'; cell: number; ename: string; evalue: string; traceback: string[] }
  | { op: 'done'; cell: number }

/** Reads one line. Throws when it is no message. */
export function parseMessage(line: string): KernelMessage {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    // Not quoted in full: it may be anything, of any size.
    throw new Error(`"${line.slice(0, 40)}" is not JSON`)
  }
  if (typeof value !== 'object' || value === null || !('op' in value))
    throw new Error('a message has no "op"')
  const message = value as Record<string, unknown>
  if (!isMessage(message))
    throw new Error(`a message "${String(message.op).slice(0, 40)}" is not as it must be`)
  return message
}

function isMessage(message: Record<string, unknown>): message is KernelMessage {
  if (message.op === 'ready') return true
  if (message.op === 'sync') return Number.isSafeInteger(message.id)
  if (!Number.isSafeInteger(message.cell)) return false
  switch (message.op) {
    case 'count':
      return Number.isSafeInteger(message.count)
    case 'result':
      return isRecordOfTexts(message.data)
    case 'error':
      return (
        typeof message.ename === 'string' &&
        typeof message.evalue === 'string' &&
        Array.isArray(message.traceback) &&
        message.traceback.every((line) => typeof line === 'string')
      )
    default:
      return message.op === 'done'
  }
}

function isRecordOfTexts(value: unknown): value is Record<string, string> {
  return (
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    Object.values(value).every((text) => typeof text === 'string')
  )
}

/** Bytes as lines. */
export class MessageReader {
  #pending: Buffer[] = []
  #pendingBytes = 0

  /** Adds bytes and gives the lines that they complete. Throws when one is too long. */
  push(chunk: Buffer): string[] {
    const lines: string[] = []
    let start = 0
    for (let end = chunk.indexOf(LF); end >= 0; end = chunk.indexOf(LF, start)) {
      this.#pending.push(chunk.subarray(start, end))
      lines.push(Buffer.concat(this.#pending).toString('utf8'))
      this.#pending = []
      this.#pendingBytes = 0
      start = end + 1
    }
    if (start < chunk.length) {
      this.#pending.push(chunk.subarray(start))
      this.#pendingBytes += chunk.length - start
      if (this.#pendingBytes > MAX_MESSAGE_BYTES)
        throw new Error(`a message has more than ${MAX_MESSAGE_BYTES} bytes`)
    }
    return lines
  }
}
