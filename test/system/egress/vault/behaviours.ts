// What the bound server does with a request, by the second part of its path (`/v1/echo-head/…`): it repeats what it was sent, in every
// place that an answer has, or leads elsewhere. Bytes by hand, one character for each.

import { createHash } from 'node:crypto'
import { gzipSync } from 'node:zlib'

export type Asked = {
  method: string
  path: string
  /** The secret that came with it, without "Bearer " or "Basic ". */
  secret: string
  /** Of the whole head, as it came. */
  head: string
  body: string
  /** What was given last by the same connection. */
  last: string
}

/** The answer; after it the connection ends, unless `keeps`. */
export type Answered = { bytes: string; keeps?: boolean }

const CRLF = '\r\n'

const answer = (head: readonly string[], body = 'answered', status = '200 OK'): string =>
  [`HTTP/1.1 ${status}`, ...head, `Content-Length: ${body.length}`, 'Connection: close', '', body].join(CRLF)

const chunked = (head: readonly string[], rest: string): string =>
  ['HTTP/1.1 200 OK', ...head, 'Transfer-Encoding: chunked', 'Connection: close', '', rest].join(CRLF)

const base64 = (text: string) => Buffer.from(text, 'latin1').toString('base64')

const percent = (text: string, digits: 'upper' | 'lower') =>
  text.replace(/[^A-Za-z0-9]/g, (found) => {
    const code = found.charCodeAt(0).toString(16).padStart(2, '0')
    return `%${digits === 'upper' ? code.toUpperCase() : code}`
  })

const PLACES: Record<string, string> = {
  other: 'https://stranger.bound.example',
  plain: 'http://api.bound.example',
  port: 'https://api.bound.example:8443',
  user: 'https://api.bound.example@stranger.bound.example',
  twin: 'https://twin.bound.example',
  relative: '//stranger.bound.example',
}

export function behave(asked: Asked): Answered {
  const { path, secret, head, body, last } = asked
  const [, root = '', what = '', ...rest] = path.split(/[/?]/)
  const tail = rest.join('/')
  const [, status, place = ''] = /^redirect-(\d{3})-(\w+)$/.exec(what) ?? []
  if (status !== undefined) {
    const to = place === 'scope' ? `/admin/ok/${tail}` : `${PLACES[place]}/v1/ok/${tail}`
    return { bytes: answer([`Location: ${to}`], '', `${status} Moved`) }
  }
  switch (what) {
    case 'keep':
      return { bytes: `HTTP/1.1 200 OK${CRLF}Content-Length: 2${CRLF}${CRLF}ok`, keeps: true }
    case 'echo-head':
      return {
        bytes: answer(
          [
            `X-Echo: got ${secret}, then ${secret}`,
            `Set-Cookie: a=${secret}`,
            `Set-Cookie: b=${secret}; Path=/`,
            `WWW-Authenticate: Bearer realm="${secret}"`,
            `Location: https://stranger.bound.example/?t=${secret}`,
            `Link: <https://stranger.bound.example/${secret}>; rel=preload`,
          ],
          '',
          `401 no such ${secret}`,
        ),
      }
    case 'echo-encoded':
      return {
        bytes: answer([
          `Location: /v1/?t=${percent(secret, 'upper')}`,
          `X-Lower: ${percent(secret, 'lower')}`,
          `X-Form: ${encodeURIComponent(secret)}`,
          `X-Json: ${JSON.stringify({ token: secret })}`,
          `X-Base64: ${base64(secret)}`,
          `X-Base64-1: ${base64(`a${secret}b`)}`,
          `grpc-status-details-bin: ${base64(`Bearer ${secret}`).replaceAll('=', '')}`,
          `X-Base64-Url: ${Buffer.from(`ab${secret}`, 'latin1').toString('base64url')}`,
        ]),
      }
    case 'echo-decoded':
      return {
        bytes: answer([`X-User: ${Buffer.from(secret, 'base64').toString('latin1')}`]),
      }
    case 'echo-name':
      return { bytes: answer([`X-${secret}: 1`, `${secret}: 2`]) }
    case 'echo-interim':
      return {
        bytes: `HTTP/1.1 103 ${secret}${CRLF}Link: <${secret}>${CRLF}${CRLF}${answer([])}`,
      }
    case 'echo-trailer':
      return { bytes: chunked(['Trailer: X-Echo'], `2\r\nok\r\n0\r\nX-Echo: ${secret}\r\n\r\n`) }
    case 'echo-extension':
      return { bytes: chunked([], `2;echo="${secret}"\r\nok\r\n0;${secret}\r\n\r\n`) }
    case 'echo-fold':
      return { bytes: answer([`X-Echo: ${secret.slice(0, 9)}`, ` ${secret.slice(9)}`]) }
    case 'echo-lf':
      return { bytes: answer([`X-Echo: a\nX-Other: ${secret}`]) }
    case 'echo-09':
      return { bytes: `${secret} as it was before there were heads` }
    case 'echo-two-lengths':
      return { bytes: answer([`X-Echo: ${secret}`, 'Content-Length: 1']) }
    case 'echo-switch':
      return {
        bytes: `HTTP/1.1 101 Switching${CRLF}Upgrade: raw${CRLF}X-Echo: ${secret}${CRLF}${CRLF}${secret}`,
      }
    case 'echo-socket':
      return {
        bytes:
          `HTTP/1.1 101 Switching${CRLF}Upgrade: websocket${CRLF}Connection: Upgrade${CRLF}X-Echo: ${secret}${CRLF}` +
          `Sec-WebSocket-Accept: ${acceptOf(head)}${CRLF}${CRLF}\x81\x02ok`,
      }
    case 'echo-socket-frame':
      return {
        bytes:
          `HTTP/1.1 101 Switching${CRLF}Upgrade: websocket${CRLF}Connection: Upgrade${CRLF}${CRLF}` +
          `\x81${String.fromCharCode(secret.length)}${secret}`,
      }
    case 'echo-body':
      return { bytes: answer([], `you sent ${secret}`) }
    case 'echo-chunks':
      return {
        bytes: chunked([], `${[...secret].map((one) => `1\r\n${one}\r\n`).join('')}0\r\n\r\n`),
      }
    case 'echo-gzip':
      return {
        bytes: answer(['Content-Encoding: gzip'], gzipSync(Buffer.from(secret, 'latin1')).toString('latin1')),
      }
    case 'echo-range':
      return {
        bytes: answer([`Content-Range: bytes 0-3/${secret.length}`], secret.slice(0, 4), '206 Partial'),
      }
    case 'last':
      return { bytes: answer([`X-Last: ${last}`]) }
    case 'body':
      return { bytes: answer([], `${root} ${body.length}`) }
    default:
      return { bytes: answer([]) }
  }
}

function acceptOf(head: string): string {
  const key = /^sec-websocket-key: *(\S+)/im.exec(head)?.[1] ?? ''
  return createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
}
