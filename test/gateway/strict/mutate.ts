// Requests that nobody would write by hand, out of those that somebody did: the same number gives the same requests.

import { REFUSED_REQUESTS, UNDERSTOOD_REQUESTS } from './corpus.ts'

/** Ends every case, so that a connection that is still in step is closed. */
export const LAST = 'GET /end HTTP/1.1\r\nHost: a-8000.localhost\r\nConnection: close\r\n\r\n'

const PIECES = [
  ...[
    '\r\n',
    '\n',
    '\r',
    '\r\n\r\n',
    '\n\n',
    '\r\r\n',
    '\0',
    ' ',
    '\t',
    '\x0b',
    '\x0c',
    '\x7f',
    '\x85',
    '\xa0',
    '\xff',
  ],
  ...[':', ';', ',', '"', '=', '_', '-', '+', '/', '?', '#', '\\', '%00', '@', '[', ']', '.', '*'],
  ...[
    '0',
    '1',
    '5',
    'a',
    'F',
    '00',
    '0x',
    '0\r\n\r\n',
    '5\r\nhello\r\n',
    '1;x=y\r\na\r\n',
    '99999999999999999999',
  ],
  ...[
    'Transfer-Encoding: chunked\r\n',
    'Content-Length: 5\r\n',
    'Content-Length: 0\r\n',
    'Host: b\r\n',
    'Connection: close\r\n',
  ],
  ...[
    'Connection: keep-alive, upgrade\r\n',
    'Upgrade: websocket\r\n',
    'Expect: 100-continue\r\n',
    'TE: trailers\r\n',
    'X: y\r\n',
  ],
  ...[
    ' HTTP/1.0',
    ' HTTP/1.1',
    'HTTP/',
    'GET ',
    'POST ',
    'HEAD ',
    'chunked',
    'identity',
    'http://a-8000.localhost',
  ],
] // prettier-ignore

const SEEDS = [...REFUSED_REQUESTS, ...UNDERSTOOD_REQUESTS]
  .map(({ bytes }) => bytes)
  .filter((bytes) => bytes.length < 2000)

export type Random = (below: number) => number

/** Whole numbers below what is asked for, the same ones for the same seed. */
export function createRandom(seed: number): Random {
  let state = seed >>> 0
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}

/** The next case. */
export function makeCase(random: Random): string {
  let bytes = pick(SEEDS, random)
  for (let left = 1 + random(4); left > 0; left--) bytes = mutate(bytes, random)
  return `${bytes.slice(0, 4000)}${LAST}`
}

function mutate(bytes: string, random: Random): string {
  const at = random(bytes.length + 1)
  const lines = bytes.split('\r\n')
  const line = random(lines.length)
  switch (random(9)) {
    case 0:
    case 1:
      return bytes.slice(0, at) + pick(PIECES, random) + bytes.slice(at)
    case 2:
      return bytes.slice(0, at) + pick(PIECES, random) + bytes.slice(at + 1)
    case 3:
      return bytes.slice(0, at) + bytes.slice(at + 1 + random(3))
    case 4:
      return [...lines.slice(0, line + 1), ...lines.slice(line)].join('\r\n')
    case 5:
      return [...lines.slice(0, line), ...lines.slice(line + 1)].join('\r\n')
    case 6: {
      const text = lines[line] ?? ''
      const changed = random(2) === 0 ? text.toUpperCase() : text.toLowerCase()
      return [...lines.slice(0, line), changed, ...lines.slice(line + 1)].join('\r\n')
    }
    case 7:
      return bytes.replace(/\d+/, (digits) => String(Number(digits) + random(5) - 2))
    default:
      return bytes.slice(0, at) + pick(SEEDS, random).slice(random(40))
  }
}

function pick(items: readonly string[], random: Random): string {
  return items[random(items.length)] ?? ''
}
