// The servers that secrets are for, and those that are not: names and addresses in the internet of the suite.

export const BOUND = '203.0.113.30'
export const BOUND_H2 = '203.0.113.31'
export const STRANGER = '203.0.113.32'
export const OLD = '203.0.113.33'
/** Requests to it are read, too, and a binding names it. */
export const NAMED_PORT = 9443

/** What each name leads to. One certificate is good for all of the first server and the second. */
export const VAULT_NAMES: Record<string, string> = {
  'api.bound.example': BOUND,
  'twin.bound.example': BOUND,
  'basic.bound.example': BOUND,
  'plain.bound.example': BOUND,
  'free.bound.example': BOUND,
  'h2.bound.example': BOUND_H2,
  'h2twin.bound.example': BOUND_H2,
  'h2free.bound.example': BOUND_H2,
  'self.bound.example': BOUND,
  'expired.bound.example': BOUND,
  'wrong.bound.example': BOUND,
  'old.bound.example': OLD,
  'stranger.bound.example': STRANGER,
}

export const VAULT_ADDRESSES = [...new Set(Object.values(VAULT_NAMES))]

/** Where the server program listens for what comes to an address and a port of the suite's internet. */
export const LISTENERS = [
  { role: 'tls', address: BOUND, port: 443, at: 9443 },
  { role: 'plain', address: BOUND, port: 80, at: 9080 },
  { role: 'other port', address: BOUND, port: 8443, at: 9444 },
  { role: 'named port', address: BOUND, port: NAMED_PORT, at: 9448 },
  { role: 'h2', address: BOUND_H2, port: 443, at: 9445 },
  { role: 'plain', address: BOUND_H2, port: 80, at: 9081 },
  { role: 'stranger', address: STRANGER, port: 443, at: 9446 },
  { role: 'stranger, plain', address: STRANGER, port: 80, at: 9082 },
  { role: 'old', address: OLD, port: 443, at: 9447 },
] as const

export type Role = (typeof LISTENERS)[number]['role']

/** What has come by one connection, as the server itself has read it. */
export type Heard = {
  role: Role
  /** The name in the handshake. */
  name: string
  text: string
}
