// A proxy for programs that want one: HTTP (CONNECT, and whole http URLs) and SOCKS 5 on one port of the gateway's address, told apart by
// their first byte. Who asks is the source address. It opens nothing that a sandbox could not reach itself: names go through the
// sandbox's own resolver, and what is then said on the wire is checked as on every connection that egress relays.

import { isIP, type Socket } from 'node:net'
import { messageOf } from '../../lib/errors.ts'
import { Lanes } from '../../lib/lanes.ts'
import type { Logger } from '../../lib/log.ts'
import type { BeginRelay } from '../connections/accepted.ts'
import type { DecisionRecord } from '../record.ts'
import { createRefusalLog, type RefusalLog } from '../refusal-log.ts'
import type { Sandbox } from '../sandbox-table.ts'
import type { Sandboxes } from '../sandboxes.ts'
import type { Asked, Opening, ProxyProtocol, RefusalKind } from './asked.ts'
import { type ChooseOptions, chooseServer, type NotChosen } from './choose-server.ts'
import { formatHttpRefusal, looksLikeHttpProxy, readHttpOpening } from './http-opening.ts'
import { formatSocksRefusal, looksLikeSocks, readSocksOpening } from './socks-opening.ts'

export type ProxyOptions = ChooseOptions & {
  sandboxes: Pick<Sandboxes, 'byAddress' | 'get' | 'decide'>
  beginRelay: BeginRelay
  record: Pick<DecisionRecord, 'add'>
  log: Logger
  openingMs?: number
  maxOpenings?: number
}

/** How long a client may take to say what it wants. */
const OPENING_MS = 10_000
/** Of one sandbox that have not been led anywhere; those that have are counted by the relay. */
const MAX_OPENINGS = 256
/** Of all. */
const MAX_OPENINGS_TOTAL = 4096
/** How long what a client goes on sending is taken and thrown away, so that it can read why it is refused. */
const REFUSED_MS = 2000

/** Serves one client after the other, whoever has accepted them. */
export function createProxy(options: ProxyOptions): (client: Socket) => void {
  const { sandboxes, log, maxOpenings = MAX_OPENINGS } = options
  const refusals = createRefusalLog(log, 'connection denied')
  const opening = new Lanes(MAX_OPENINGS_TOTAL, { each: maxOpenings })
  return (client) => {
    const sandbox = sandboxes.byAddress(client.remoteAddress ?? '')
    client.on('error', () => client.destroy())
    if (!sandbox || !opening.isOpenTo(sandbox.id)) {
      client.resetAndDestroy()
      return
    }
    const { id } = sandbox
    const done = opening.take(id)
    // Who is refused takes its place until it has read why.
    client.once('close', done)
    void open(options, refusals, { client, sandbox, onLed: done }).catch((error) => {
      // A bug must not end the proxy for all sandboxes.
      log.error('cannot serve a client of the proxy', { sandbox: id, error: messageOf(error) })
      client.resetAndDestroy()
    })
  }
}

async function open(
  options: ProxyOptions,
  refusals: RefusalLog,
  { client, sandbox: { id }, onLed }: { client: Socket; sandbox: Sandbox; onLed: () => void },
): Promise<void> {
  const { record, beginRelay, openingMs = OPENING_MS } = options
  const said = await readOpening(client, openingMs)
  if (!said) return
  const refuse = (asked: Partial<Asked>, { kind, problem, name, rule }: NotChosen) => {
    const { host, port } = asked
    const about = {
      // Anything else that was asked for is neither, and stands in the reason.
      ...(name !== undefined ? { name } : host !== undefined && isIP(host) !== 0 && { address: host }),
      protocol: 'tcp',
      ...(port !== undefined && { port }),
    }
    const why = { reason: problem, ...(rule !== undefined && { rule }) }
    record.add(id, { kind: 'connection', verdict: 'deny', via: said.via, ...about, ...why })
    refusals(id, { event: `${host} ${port} ${problem}`, what: { ...about, via: said.via }, ...why })
    said.refuse(kind, problem)
  }
  if (said.is === 'bad') {
    refuse({}, said)
    return
  }
  const { asked } = said
  const chosen = await chooseServer(options, id, asked)
  if (client.destroyed) return
  if (!('isOpen' in chosen)) {
    refuse(asked, chosen)
    return
  }
  const sandbox = options.sandboxes.get(id)
  if (!sandbox) {
    client.resetAndDestroy()
    return
  }
  if (asked.accepted.length > 0) client.write(asked.accepted)
  onLed()
  beginRelay({ client, sandbox, to: { ...chosen, via: asked.via }, first: asked.first })
}

type Said = (Exclude<Opening, { is: 'more' }> & { via: ProxyProtocol }) & {
  refuse: (kind: RefusalKind, reason: string) => void
}

/** What the client says, once it is whole; the connection is paused then. Undefined: it has gone, or took too long. */
function readOpening(client: Socket, openingMs: number): Promise<Said | undefined> {
  return new Promise((resolve) => {
    let held: Buffer = Buffer.alloc(0)
    let isGreeted = false
    const settle = (said: Said | undefined) => {
      clearTimeout(timer)
      client.pause()
      client.off('data', onData)
      client.off('end', onEnd)
      client.off('close', onEnd)
      resolve(said)
    }
    const onEnd = () => {
      client.destroy()
      settle(undefined)
    }
    const timer = setTimeout(() => {
      client.resetAndDestroy()
      settle(undefined)
    }, openingMs)
    const onData = (chunk: Buffer) => {
      held = held.length === 0 ? chunk : Buffer.concat([held, chunk])
      const [first = 0] = held
      const isSocks = looksLikeSocks(first)
      if (!isSocks && !looksLikeHttpProxy(first)) {
        client.resetAndDestroy()
        settle(undefined)
        return
      }
      for (;;) {
        const opening = isSocks ? readSocksOpening(held, isGreeted) : readHttpOpening(held)
        if (opening.is !== 'more') {
          const refuse = (kind: RefusalKind, reason: string) => {
            client.end(isSocks ? formatSocksRefusal(kind, isGreeted) : formatHttpRefusal(kind, reason))
            client.resume()
            const timer = setTimeout(() => client.destroy(), REFUSED_MS)
            client.once('close', () => clearTimeout(timer))
          }
          settle({ ...opening, via: isSocks ? 'socks5' : 'http', refuse })
          return
        }
        if (opening.send) client.write(opening.send)
        if (opening.taken === undefined) return
        isGreeted = true
        held = held.subarray(opening.taken)
        if (held.length === 0) return
      }
    }
    client.on('data', onData)
    client.on('end', onEnd)
    client.on('close', onEnd)
  })
}
