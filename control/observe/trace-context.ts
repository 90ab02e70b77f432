// W3C Trace Context: `traceparent` and `tracestate` as they come in and are passed on (https://www.w3.org/TR/trace-context/). Pure.

export type TraceContext = {
  /** 32 lower-case hex digits. */
  traceId: string
  /** 16 lower-case hex digits: whoever is told this is a child of it. */
  spanId: string
  isSampled: boolean
  /** What vendors add, passed on as it came. */
  state?: string
}

const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/
const MAX_HEADER_LENGTH = 512
const NO_TRACE = '0'.repeat(32)
const NO_SPAN = '0'.repeat(16)

/** The context of a caller; undefined when it has none or what it sent is not valid. */
export function parseTraceContext(
  traceparent: string | undefined,
  tracestate?: string,
): TraceContext | undefined {
  if (traceparent === undefined || traceparent.length > MAX_HEADER_LENGTH) return undefined
  const match = TRACEPARENT.exec(traceparent.trim())
  if (!match) return undefined
  const [, version = '', traceId = '', spanId = '', flags = '', rest] = match
  // Later versions may append, the first one may not.
  if (version === 'ff' || (version === '00' && rest !== undefined)) return undefined
  if (traceId === NO_TRACE || spanId === NO_SPAN) return undefined
  const state = tracestate?.trim() ?? ''
  const isSound = state !== '' && state.length <= MAX_HEADER_LENGTH && /^[\x20-\x7e]+$/.test(state)
  return {
    traceId,
    spanId,
    isSampled: (Number.parseInt(flags, 16) & 1) === 1,
    ...(isSound && { state }),
  }
}

/** The headers that tell the next one. */
export function formatTraceContext({
  traceId,
  spanId,
  isSampled,
  state,
}: TraceContext): Record<string, string> {
  return {
    traceparent: `00-${traceId}-${spanId}-${isSampled ? '01' : '00'}`,
    ...(state !== undefined && { tracestate: state }),
  }
}
