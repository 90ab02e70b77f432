// Where a request to `/proxy/{port}/{rest}` goes. The path is kept as it was sent, percent-encoding included, so that the
// program behind sees what its client wrote.

export type ProxyTarget = { port: number /** The raw path and query for the target. */; path: string }

/** The target of a request's raw URL, or why there is none. `ownPort` is where execd itself listens. */
export function parseTarget(url: string, ownPort: number): ProxyTarget | { problem: string } {
  let rest = url
  for (;;) {
    const match = /^\/proxy(?:\/([^/?]*))?(\/[^?]*)?(\?.*)?$/s.exec(rest)
    const [, text = '', path = '/', query = ''] = match ?? []
    if (text === '') return { problem: 'port is required' }
    const port = /^\d{1,5}$/.test(text) ? Number(text) : 0
    if (port < 1 || port > 65_535)
      return { problem: `port must be a number from 1 to 65535: found "${text.slice(0, 100)}"` }
    rest = `${path}${query}`
    // Through ourselves to ourselves, however often, is once: each time would take a connection of its own.
    const again = /^\/proxy\/(\d{1,5})(?:[/?]|$)/.exec(rest)?.[1]
    if (port !== ownPort || Number(again) !== ownPort) return { port, path: rest }
  }
}
