// What both sides say of themselves (RFC 9113 6.5).

import { CODE, DEFAULT_WINDOW_BYTES, type Fault, MAX_FRAME_BYTES, MAX_WINDOW_BYTES } from './frames.ts'
import { FIRST_LIMIT_BYTES } from './hpack/field-table.ts'

/** Of the other side; a change has what was said alone. */
export type Settings = {
  tableBytes: number
  maxStreams: number
  windowBytes: number
}

const ID = {
  tableBytes: 1,
  enablePush: 2,
  maxStreams: 3,
  windowBytes: 4,
  frameBytes: 5,
  listBytes: 6,
} as const
const ENTRY_BYTES = 6

/** Until it says otherwise. RFC 9113 advises everybody to take 100 streams at least. */
export const UNSAID: Settings = {
  tableBytes: FIRST_LIMIT_BYTES,
  maxStreams: 100,
  windowBytes: DEFAULT_WINDOW_BYTES,
}

type OwnSettings = {
  /** How many streams the other side may begin; zero: it may send nothing that was not asked for. */
  maxStreams: number
  windowBytes: number
  maxListBytes: number
}

export function formatSettings({ maxStreams, windowBytes, maxListBytes }: OwnSettings): Buffer {
  const entries: [id: number, value: number][] = [
    maxStreams === 0 ? [ID.enablePush, 0] : [ID.maxStreams, maxStreams],
    [ID.windowBytes, windowBytes],
    [ID.listBytes, maxListBytes],
  ]
  const payload = Buffer.allocUnsafe(ENTRY_BYTES * entries.length)
  entries.forEach(([id, value], index) => {
    payload.writeUInt16BE(id, ENTRY_BYTES * index)
    payload.writeUInt32BE(value, ENTRY_BYTES * index + 2)
  })
  return payload
}

export function parseSettings(payload: Buffer): Partial<Settings> | Fault {
  if (payload.length % ENTRY_BYTES !== 0)
    return { code: CODE.frameSize, problem: 'settings that are cut off' }
  const said: Partial<Settings> = {}
  for (let at = 0; at < payload.length; at += ENTRY_BYTES) {
    const value = payload.readUInt32BE(at + 2)
    switch (payload.readUInt16BE(at)) {
      case ID.tableBytes:
        said.tableBytes = value
        break
      case ID.enablePush:
        if (value > 1) return { code: CODE.protocol, problem: 'a setting of push that is not 0 or 1' }
        break
      case ID.maxStreams:
        said.maxStreams = value
        break
      case ID.windowBytes:
        if (value > MAX_WINDOW_BYTES) return { code: CODE.flowControl, problem: 'a window above 2^31-1' }
        said.windowBytes = value
        break
      case ID.frameBytes:
        if (value < MAX_FRAME_BYTES || value >= 2 ** 24)
          return { code: CODE.protocol, problem: `frames of ${value} bytes at most` }
        break
    }
  }
  return said
}
