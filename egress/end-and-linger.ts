import type { Socket } from 'node:net'

export type LingerLimits = {
  /** How long a client may take to read what was written before. */
  unreadMs: number
  /** How long what it goes on sending is read and dropped after that, so that it reads the answer before it hears of the end. */
  lingerMs: number
  /** The same when it sends nothing. */
  silentMs: number
}

const LIMITS: LingerLimits = { unreadMs: 5 * 60_000, lingerMs: 30_000, silentMs: 3000 }

/** Ends a connection whose client may still be sending, once what was written has gone out; a client that sends for ever delays it no longer. */
export function endAndLinger(client: Socket, { unreadMs, lingerMs, silentMs }: LingerLimits = LIMITS): void {
  if (client.destroyed) return
  const giveUp = () => client.destroy()
  let timer = setTimeout(giveUp, unreadMs)
  client.once('close', () => clearTimeout(timer))
  client.once('finish', () => {
    clearTimeout(timer)
    timer = setTimeout(giveUp, lingerMs)
    client.setTimeout(silentMs, giveUp)
  })
  client.end()
  client.resume()
}
