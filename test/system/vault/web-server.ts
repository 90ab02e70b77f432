// `web-server.ts FOLDER`: HTTP at port 80, HTTP/1 and HTTP/2 by TLS at port 443. Prints a line of JSON for each request. At /echo it gives
// back the headers that it got, in a header.

import { readFileSync } from 'node:fs'
import { createServer, type RequestListener } from 'node:http'
import { createSecureServer, type Http2ServerRequest, type Http2ServerResponse } from 'node:http2'
import { join } from 'node:path'

const [folder = ''] = process.argv.slice(2)
const read = (name: string) => readFileSync(join(folder, name))

const serve =
  (scheme: string) =>
  async (
    request: Parameters<RequestListener>[0] | Http2ServerRequest,
    response: Parameters<RequestListener>[1] | Http2ServerResponse,
  ) => {
    let body = ''
    request.setEncoding('utf8')
    for await (const chunk of request) body += chunk
    const { authorization, 'x-key': key, host } = request.headers
    const name = host ?? String(request.headers[':authority'])
    const arrived = {
      scheme,
      host: name,
      method: request.method,
      path: request.url,
      authorization,
      key,
      body: body.slice(0, 200),
    }
    process.stdout.write(`${JSON.stringify(arrived)}\n`)
    if (request.url === '/echo') response.setHeader('x-echo', `got ${authorization}`)
    if (request.url === '/away') response.setHeader('location', 'https://other.vault.example/landed')
    response.statusCode = request.url === '/away' ? 302 : 200
    response.end(`arrived ${scheme}\n`)
  }

const secure = createSecureServer(
  { allowHTTP1: true, key: read('server.key'), cert: read('server.pem') },
  serve('https'),
)
const plain = createServer(serve('http'))
await Promise.all([
  new Promise<void>((resolve) => secure.listen(443, '0.0.0.0', resolve)),
  new Promise<void>((resolve) => plain.listen(80, '0.0.0.0', resolve)),
])
process.stdout.write('ready\n')
