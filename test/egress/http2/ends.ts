// Both ends of streams, as tests need them.

import type { FieldToSend } from '../../../egress/http2/hpack/encoder.ts'
import type { StreamListener } from '../../../egress/http2/stream.ts'

/** Does nothing with what it hears. */
export const DEAF: StreamListener = {
  onInterim: () => {},
  onAnswer: () => {},
  onData: () => {},
  onTrailers: () => {},
  onEnd: () => {},
  onSent: () => {},
  onClose: () => {},
}

export function requestTo(authority: string, { method = 'GET', path = '/' } = {}): FieldToSend[] {
  return [
    { name: ':method', value: method },
    { name: ':scheme', value: 'https' },
    { name: ':authority', value: authority },
    { name: ':path', value: path },
  ]
}
