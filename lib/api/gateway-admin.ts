// What a gateway tells control of itself, on a socket of each of its processes (lib/instance.ts):
//
//   GET /figures        GatewayFigures: its numbers, for Prometheus
//   GET /connections    GatewayConnections: what is under way, one entry for each connection to a sandbox

/** One number, by its labels. */
export type Sample = { labels: Record<string, string>; value: number }

export type Family = {
  name: string
  help: string
  type: 'counter' | 'gauge' | 'histogram'
  /** Of a histogram those with `le` are its buckets, each with those below it, and the others are sums. */
  samples: Sample[]
}

export type GatewayFigures = { families: Family[] }

export type LiveConnection = {
  sandboxId: string
  port: number
  client: string
  /** `request` until its answer is complete, `stream` after an upgrade. */
  kind: 'request' | 'stream'
  method: string
  /** Without a query, and without what opens something. */
  path: string
  /** How long it has been under way. */
  ageMs: number
  bytesIn: number
  bytesOut: number
  /** The id of the link by which it is reached. */
  share?: string
}

export type GatewayConnections = {
  connections: LiveConnection[]
  /** How many more there are. */
  leftOut: number
}

/** At most so many are told of. */
export const MAX_CONNECTIONS_TOLD = 5000
