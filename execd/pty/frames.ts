// The frames of a terminal's WebSocket as bytes and texts (contract: execd.md 5.2), written and read without doing anything.

import {
  PTY_CHANNEL,
  PTY_SIGNALS,
  type PtyClientFrame,
  type PtyServerFrame,
  type PtySignal,
} from '../../lib/api/execd-pty.ts'
import { type Body, field } from '../http/body.ts'
import type { ReplayBuffer, Stream } from './replay.ts'

/** The kernel keeps the size of a terminal in 16 bits. */
export const MAX_SIZE = 65535

const REPLAY_HEADER_BYTES = 9

export function formatOutput(stream: Stream, bytes: Buffer): Buffer {
  const frame = Buffer.allocUnsafe(1 + bytes.length)
  frame[0] = PTY_CHANNEL[stream]
  bytes.copy(frame, 1)
  return frame
}

/** Everything from `position` on, with that position in front. */
export function formatReplay(replay: ReplayBuffer, position: number): Buffer {
  const frame = Buffer.allocUnsafe(REPLAY_HEADER_BYTES + replay.end - position)
  frame[0] = PTY_CHANNEL.replay
  frame.writeBigInt64BE(BigInt(position), 1)
  replay.copyFrom(position, frame, REPLAY_HEADER_BYTES)
  return frame
}

export function formatText(frame: PtyServerFrame): string {
  return `${JSON.stringify(frame)}\n`
}

/** What is typed, or undefined for a frame of no channel that we read. */
export function parseBinary(frame: Buffer): Buffer | undefined {
  return frame.length > 0 && frame[0] === PTY_CHANNEL.stdin ? frame.subarray(1) : undefined
}

export type ParsedText =
  | { ok: true; frame: PtyClientFrame }
  /** The contract wants these passed over in silence: no JSON, values of a wrong kind, sizes and signals that we do not know. */
  | { ok: false; isIgnored: true }
  | { ok: false; isIgnored: false; reason: string }

const IGNORED: ParsedText = { ok: false, isIgnored: true }

export function parseText(text: string): ParsedText {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return IGNORED
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return IGNORED
  const body = value as Body
  const type = field(body, 'type') ?? ''
  if (typeof type !== 'string') return IGNORED
  switch (type) {
    case 'ping':
    case 'eof':
      return { ok: true, frame: { type } }
    case 'stdin': {
      const data = field(body, 'data') ?? ''
      return typeof data === 'string' ? { ok: true, frame: { type, data } } : IGNORED
    }
    case 'resize': {
      const [cols, rows] = [field(body, 'cols'), field(body, 'rows')]
      return isSize(cols) && isSize(rows) ? { ok: true, frame: { type, cols, rows } } : IGNORED
    }
    case 'signal': {
      const signal = field(body, 'signal')
      return isSignal(signal) ? { ok: true, frame: { type, signal } } : IGNORED
    }
  }
  return {
    ok: false,
    isIgnored: false,
    reason: `"type" must be "stdin", "resize", "signal", "ping" or "eof": found "${type.slice(0, 50)}"`,
  }
}

function isSize(value: unknown): value is number {
  return Number.isInteger(value) && Number(value) > 0 && Number(value) <= MAX_SIZE
}

function isSignal(value: unknown): value is PtySignal {
  return PTY_SIGNALS.some((name) => name === value)
}
