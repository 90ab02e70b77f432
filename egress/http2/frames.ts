// Frames of HTTP/2 as they are written (RFC 9113 4.1 and 6), and their names and numbers.

export const FRAME = {
  data: 0,
  headers: 1,
  priority: 2,
  rstStream: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const

export const FLAG = { endStream: 1, ack: 1, endHeaders: 4, padded: 8, priority: 32 } as const

/** RFC 9113 7. */
export const CODE = {
  none: 0,
  protocol: 1,
  internal: 2,
  flowControl: 3,
  streamClosed: 5,
  frameSize: 6,
  refusedStream: 7,
  cancel: 8,
  compression: 9,
  enhanceYourCalm: 11,
} as const

/** What is wrong with a connection, and how that is said to the other side. */
export type Fault = { code: number; problem: string }

export const HEAD_BYTES = 9
/** The least that everybody has to take, and the most that we do. */
export const MAX_FRAME_BYTES = 16_384
export const MAX_WINDOW_BYTES = 2 ** 31 - 1
/** What windows are until the other side says otherwise. */
export const DEFAULT_WINDOW_BYTES = 65_535
export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1')

export const MAX_STREAM_ID = 2 ** 31 - 1
/** Smaller bodies are copied behind the head of their frame, which is cheaper than to write two things. */
const COPIED_BYTES = 4096

/** The parts of one frame, in their order. */
export function formatFrame(type: number, flags: number, streamId: number, payload: Buffer): Buffer[] {
  const { length } = payload
  const isCopied = length <= COPIED_BYTES
  const frame = Buffer.allocUnsafe(isCopied ? HEAD_BYTES + length : HEAD_BYTES)
  writeHead(frame, { length, type, flags, streamId })
  if (!isCopied) return [frame, payload]
  payload.copy(frame, HEAD_BYTES)
  return [frame]
}

/** A frame that holds some numbers of 32 bits: RST_STREAM, WINDOW_UPDATE, GOAWAY. */
export function formatNumbers(type: number, streamId: number, numbers: readonly number[]): Buffer {
  const length = 4 * numbers.length
  const frame = Buffer.allocUnsafe(HEAD_BYTES + length)
  writeHead(frame, { length, type, flags: 0, streamId })
  let at = HEAD_BYTES
  for (const number of numbers) at = frame.writeUInt32BE(number, at)
  return frame
}

/** A field block in as many frames as it takes. */
export function formatFieldBlock(streamId: number, block: Buffer, isEnd: boolean): Buffer[] {
  const parts: Buffer[] = []
  let at = 0
  do {
    const isFirst = at === 0
    const piece = block.subarray(at, at + MAX_FRAME_BYTES)
    at += piece.length
    const flags = (isFirst && isEnd ? FLAG.endStream : 0) | (at === block.length ? FLAG.endHeaders : 0)
    parts.push(...formatFrame(isFirst ? FRAME.headers : FRAME.continuation, flags, streamId, piece))
  } while (at < block.length)
  return parts
}

type FrameHead = { length: number; type: number; flags: number; streamId: number }

function writeHead(frame: Buffer, { length, type, flags, streamId }: FrameHead): void {
  frame[0] = length >> 16
  frame[1] = length >> 8
  frame[2] = length
  frame[3] = type
  frame[4] = flags
  frame.writeUInt32BE(streamId & MAX_STREAM_ID, 5)
}
