// ClientHellos, read beside OpenSSL: what egress lets pass must name the same server to both. However it is cut into pieces, the
// reading is the same.

import { Duplex } from 'node:stream'
import { createSecureContext, type SecureContext, TLSSocket } from 'node:tls'
import { readClientHello } from '../../../egress/connections/client-hello.ts'
import { clientHello, extension, record, serverName } from '../connections/hellos.ts'
import { mutateBytes } from './mutate.ts'
import { type FuzzTarget, hex, unhex } from './target.ts'

const VERSIONS = extension(43, Buffer.from([4, 3, 4, 3, 3]))
const GROUPS = extension(10, Buffer.from([0, 2, 0, 0x1d]))
const SIGNATURES = extension(13, Buffer.from([0, 4, 4, 3, 8, 4]))
const KEY_SHARE = extension(51, Buffer.concat([Buffer.from([0, 36, 0, 0x1d, 0, 32]), Buffer.alloc(32, 9)]))
const rest = [VERSIONS, GROUPS, SIGNATURES, KEY_SHARE]
export const PLAIN_HELLO = record(clientHello([serverName('good.example'), ...rest]))
const SEEDS = [
  PLAIN_HELLO,
  record(clientHello([...rest, serverName('a.good.example')])),
  record(clientHello(rest)),
  record(clientHello([serverName('good.example', 'evil.test'), ...rest])),
  record(clientHello([serverName('good.example'), serverName('evil.test'), ...rest])),
  record(clientHello([serverName('good.example'), extension(0xfe0d, Buffer.alloc(8)), ...rest])),
  inRecords(clientHello([serverName('good.example'), ...rest]), 9),
]
const WORDS = [
  ...[
    '0000',
    '0001',
    '00',
    '160301',
    '160303',
    '1503010002',
    '1403030001',
    'fe0d',
    '0010',
    '002b',
    '002d',
    'ff01',
  ],
  ...[hex(Buffer.from('evil.test')), hex(serverName('evil.test')), '000001', 'ffff'],
].map(unhex)

export function createHelloTarget(): FuzzTarget {
  const context = createSecureContext()
  return {
    make: (random) => hex(mutateBytes({ seeds: SEEDS, words: WORDS }, random)),
    check: async (made) => {
      const bytes = unhex(made)
      const ours = readClientHello(bytes)
      if (ours.is !== 'hello') return undefined
      if (ours.length > bytes.length) return `it takes ${ours.length} of ${bytes.length} bytes`
      for (const cut of [1, 5, 6, Math.floor(ours.length / 2), ours.length - 1]) {
        const part = readClientHello(bytes.subarray(0, cut))
        if (part.is === 'hello') return `it is whole after ${cut} bytes and after ${ours.length}`
      }
      const theirs = await readByOpenssl(bytes.subarray(0, ours.length), context)
      // What OpenSSL refuses is no connection for anybody.
      if (theirs === undefined || theirs === ours.serverName) return undefined
      return `OpenSSL reads ${JSON.stringify(theirs)}, and egress ${JSON.stringify(ours.serverName)}`
    },
    corpus: SEEDS.map(hex),
  }
}

function inRecords(message: Buffer, size: number): Buffer {
  const parts: Buffer[] = []
  for (let at = 0; at < message.length; at += size) parts.push(record(message.subarray(at, at + size)))
  return Buffer.concat(parts)
}

/** The name that OpenSSL asks a server for; undefined when it gets none, or has refused the message before. */
export function readByOpenssl(
  bytes: Buffer,
  secureContext: SecureContext = createSecureContext(),
): Promise<string | undefined> {
  return new Promise((resolve) => {
    const wire = new Duplex({ read: () => undefined, write: (_chunk, _encoding, done) => done() })
    const server = new TLSSocket(wire, {
      isServer: true,
      secureContext,
      SNICallback: (name: string, _answer: (error: Error | null, context?: SecureContext) => void) => {
        finish(name === '' ? undefined : name)
      },
    })
    const finish = (name: string | undefined) => {
      server.destroy()
      wire.destroy()
      // What is closed is let go of only between two turns of the loop.
      setImmediate(() => resolve(name))
    }
    server.on('error', () => finish(undefined))
    server.on('close', () => finish(undefined))
    wire.push(bytes)
    // Nothing more comes, so that a message that is not whole to OpenSSL ends.
    wire.push(null)
  })
}
