// Messages of the Jupyter protocol as a server's WebSocket carries them: JSON as text, or, when a message has binary
// buffers, a count, offsets, the JSON and the buffers. We send texts only and read both.

import { isRecord } from '../../../lib/is-record.ts'

const VERSION = '5.3'

export type Message = {
  type: string
  /** The id of the request that it belongs to, or undefined when it belongs to none. */
  parent: string | undefined
  channel: string
  content: Record<string, unknown>
}

export type Request = {
  id: string
  type: string
  session: string
  channel: 'shell' | 'control' | 'stdin'
  content: Record<string, unknown>
}

export function formatRequest({ id, type, session, channel, content }: Request): string {
  return JSON.stringify({
    header: {
      msg_id: id,
      msg_type: type,
      session,
      username: 'execd',
      date: new Date().toISOString(),
      version: VERSION,
    },
    parent_header: {},
    metadata: {},
    content,
    channel,
    buffers: [],
  })
}

/** Reads one frame. Undefined for what is no message. */
export function parseMessage(frame: Buffer, isBinary: boolean): Message | undefined {
  const text = isBinary ? jsonPart(frame) : frame.toString('utf8')
  if (text === undefined) return undefined
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    // Not from a kernel: nothing that we could do anything with.
    return undefined
  }
  if (!isRecord(value) || !isRecord(value.header)) return undefined
  const type = value.header.msg_type ?? value.msg_type
  if (typeof type !== 'string') return undefined
  const parent = isRecord(value.parent_header) ? value.parent_header.msg_id : undefined
  return {
    type,
    parent: typeof parent === 'string' && parent !== '' ? parent : undefined,
    channel: typeof value.channel === 'string' ? value.channel : '',
    content: isRecord(value.content) ? value.content : {},
  }
}

/** The first buffer of a binary frame: a big-endian count, as many offsets, then the buffers themselves. */
function jsonPart(frame: Buffer): string | undefined {
  if (frame.length < 8) return undefined
  const count = frame.readUInt32BE(0)
  const start = frame.readUInt32BE(4)
  if (count === 0 || start !== 4 + 4 * count || start > frame.length) return undefined
  const end = count === 1 ? frame.length : frame.readUInt32BE(8)
  return end < start || end > frame.length ? undefined : frame.toString('utf8', start, end)
}
