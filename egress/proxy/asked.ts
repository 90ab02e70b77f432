// What a client asks the proxy for, whichever way it speaks, and how it is answered.

export type ProxyProtocol = 'http' | 'socks5'

export type Asked = {
  via: ProxyProtocol
  /** A name or an address, as it was written. */
  host: string
  port: number
  /** What goes to the server first: a request that was made to fit it, and what has come behind it. */
  first: Buffer
  /** What the client is told when it gets what it asked for; nothing when the server itself answers. */
  accepted: Buffer
}

export const REFUSALS = ['malformed', 'unsupported', 'denied', 'unresolved', 'crowded'] as const
export type RefusalKind = (typeof REFUSALS)[number]

/** The state of an opening: `send` goes to the client in any case. */
export type Opening =
  | { is: 'more'; send?: Buffer /** Bytes that were understood and are not needed again. */; taken?: number }
  | { is: 'asked'; asked: Asked }
  | { is: 'bad'; kind: RefusalKind; problem: string }
