import { Duplex } from 'node:stream'
import { connect } from 'node:tls'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { readClientHello } from '../../../egress/connections/client-hello.ts'
import { TlsOpening } from '../../../egress/connections/tls-opening.ts'
import { clientHello, extension, record, serverName } from './hellos.ts'

/** The first bytes of a real client. */
async function realHello(servername: string | undefined): Promise<Buffer> {
  return new Promise((resolve) => {
    const wire = new Duplex({ read() {}, write: (chunk: Buffer) => resolve(chunk) })
    connect({ socket: wire, ...(servername !== undefined && { servername }) }).on('error', () => {})
  })
}

describe('readClientHello()', () => {
  test('finds the name of a real client, and that another sends none', async () => {
    const bytes = await realHello('api.example')
    expect(readClientHello(bytes)).toEqual({
      is: 'hello',
      length: bytes.length,
      serverName: 'api.example',
      hasHiddenName: false,
    })
    expect(readClientHello(await realHello(undefined))).toMatchObject({ is: 'hello', hasHiddenName: false })
  })

  test('waits for every byte, however it comes', async () => {
    const bytes = await realHello('api.example')
    for (let length = 0; length < bytes.length; length++)
      expect(readClientHello(bytes.subarray(0, length)), `${length} bytes`).toEqual({ is: 'more' })
  })

  test('joins records, and takes none for whole that is not', () => {
    const message = clientHello([serverName('a.example')])
    const split = Buffer.concat([
      record(message.subarray(0, 3)),
      record(message.subarray(3, 50)),
      record(message.subarray(50)),
    ])
    expect(readClientHello(split)).toMatchObject({
      is: 'hello',
      length: split.length,
      serverName: 'a.example',
    })
    expect(readClientHello(split.subarray(0, -1))).toEqual({ is: 'more' })
  })

  test.each([
    ['no handshake', Buffer.from([23, 3, 3, 0, 1, 0]), /something else/],
    ['no version of TLS', Buffer.from([22, 2, 0, 0, 1, 1]), /no version/],
    ['an empty record', Buffer.from([22, 3, 1, 0, 0]), /length/],
    ['a record that is too long', Buffer.from([22, 3, 1, 0x7f, 0xff]), /length/],
    ['another message', record(Buffer.from([2, 0, 0, 0])), /does not begin with a ClientHello/],
    ['a huge message', record(Buffer.from([1, 0xff, 0xff, 0xff])), /too long/],
    ['two names', record(clientHello([serverName('a.example'), serverName('b.example')])), /twice/],
    ['two names in one extension', record(clientHello([serverName('a.example', 'b.example')])), /twice/],
    ['a name with a space', record(clientHello([serverName('a example')])), /characters/],
    [
      'lengths that lie',
      record(clientHello([serverName('a.example')], { lie: 1 })),
      /lengths|after its extensions/,
    ],
    [
      'more in the same record',
      record(Buffer.concat([clientHello([serverName('a.example')]), clientHello([serverName('b.example')])])),
      /behind/,
    ],
    [
      'an alert in the middle',
      Buffer.concat([record(clientHello([]).subarray(0, 10)), Buffer.from([21, 3, 3, 0, 2, 1, 0])]),
      /middle/,
    ],
  ])('refuses %s', (_, bytes, problem) => {
    expect(readClientHello(bytes)).toEqual({ is: 'bad', problem: expect.stringMatching(problem) })
  })

  test('a name may be hidden where the operator says so, and the one in sight is checked all the same', () => {
    const bytes = record(clientHello([serverName('a.example'), extension(0xfe0d, Buffer.alloc(40))]))
    const judge = (problem?: string) => new TlsOpening(() => problem, { allowsHiddenName: true }).push(bytes)
    expect(judge()).toEqual({ pass: [bytes] })
    expect(judge('denied')).toEqual({ pass: [], problem: 'denied' })
    const hidesAll = record(clientHello([extension(0xfe0d, Buffer.alloc(40))]))
    expect(new TlsOpening(() => undefined, { allowsHiddenName: true }).push(hidesAll)).toMatchObject({
      pass: [],
    })
  })

  test('sees that a name may be hidden', () => {
    const bytes = record(clientHello([serverName('a.example'), extension(0xfe0d, Buffer.alloc(8))]))
    expect(readClientHello(bytes)).toMatchObject({ is: 'hello', hasHiddenName: true })
  })

  test('lives through noise, and reads the same however a hello is cut', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (noise) => {
        readClientHello(Buffer.concat([Buffer.from([22, 3, 1]), noise]))
        readClientHello(record(Buffer.concat([Buffer.from([1, 0, 0, noise.length]), noise])))
      }),
    )
  })
})

describe('TlsOpening', () => {
  const check = (name: string) => (name === 'a.example' ? undefined : `${name} is denied`)
  const first = record(clientHello([serverName('a.example')]))

  test('lets the hello pass as one, and everything after it is sealed', () => {
    const opening = new TlsOpening(check)
    expect(opening.push(first.subarray(0, 20))).toEqual({ pass: [] })
    const { pass } = opening.push(Buffer.concat([first.subarray(20), Buffer.from([23, 3, 3, 0, 1, 9])]))
    expect(Buffer.concat(pass)).toEqual(Buffer.concat([first, Buffer.from([23, 3, 3, 0, 1, 9])]))
    expect(opening.push(Buffer.from('anything'))).toEqual({ pass: [Buffer.from('anything')] })
  })

  test.each([
    ['a name that is denied', record(clientHello([serverName('b.example')])), 'b.example is denied'],
    ['no name', record(clientHello([])), /no SNI/],
    [
      'a hidden name',
      record(clientHello([serverName('a.example'), extension(0xfe0d, Buffer.alloc(8))])),
      /Encrypted/,
    ],
  ])('passes nothing of %s', (_, bytes, problem) => {
    expect(new TlsOpening(check).push(bytes)).toEqual({ pass: [], problem: expect.stringMatching(problem) })
  })

  test('a second hello must name the same server', () => {
    const again = Buffer.concat([Buffer.from([20, 3, 3, 0, 1, 1]), first])
    const opening = new TlsOpening(check)
    opening.push(first)
    expect(Buffer.concat(opening.push(again).pass)).toEqual(again)
    const other = new TlsOpening(() => undefined)
    other.push(first)
    const { problem } = other.push(record(clientHello([serverName('b.example')])))
    expect(problem).toBe('its second ClientHello names another server')
  })

  test('a hello without end is not kept for ever', () => {
    const opening = new TlsOpening(check)
    const piece = record(Buffer.concat([Buffer.from([1, 0, 0xff, 0xff]), Buffer.alloc(16_000, 255)]))
    let problem: string | undefined
    for (let count = 0; count < 20 && problem === undefined; count++) problem = opening.push(piece).problem
    expect(problem).toMatch(/too long|lengths/)
  })
})
