// Both ends of streams, as tests need them.

import type { RequestListener } from '../../../egress/http2/connection.ts'
import type { FieldToSend } from '../../../egress/http2/hpack/encoder.ts'

/** Does nothing with what it hears. */
export const DEAF: Omit<RequestListener, 'onRequest'> = {
  onTooLong: () => {},
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
