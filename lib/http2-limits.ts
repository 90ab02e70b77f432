// What one connection of a client that speaks HTTP/2 can make a server of ours do, beside what its own settings say.

export const MAX_HTTP2_STREAMS = 128

export const HTTP2_LIMITS = {
  /** Fields of one head. */
  maxHeaderListPairs: 160,
  maxSettings: 32,
  maxOutstandingPings: 10,
  maxSessionInvalidFrames: 100,
  maxSessionRejectedStreams: 100,
  // Breaking off streams costs a client nothing and a server much (CVE-2023-44487).
  streamResetBurst: 200,
  streamResetRate: 20,
} as const
