import { expect, test } from 'vitest'
import { parseProxyHeader } from '../../../gateway/front/proxy-protocol.ts'

const V2 = '\r\n\r\n\0\r\nQUIT\n'
const REST = 'GET / HTTP/1.1\r\n'

/** Version 2: command, family, and what follows them. */
function v2(command: number, family: number, rest: readonly number[], length = rest.length): Buffer {
  return Buffer.concat([
    Buffer.from(V2, 'latin1'),
    Buffer.from([command, family, length >> 8, length & 255, ...rest]),
  ])
}
const IPV4 = [192, 0, 2, 7, 198, 51, 100, 1, 1, 2, 3, 4]
const IPV6 = [0x20, 1, 0xd, 0xb8, ...Array<number>(11).fill(0), 7, ...Array<number>(16).fill(9), 1, 2, 3, 4]

test.each([
  ['TCP4', Buffer.from('PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n'), '192.0.2.7'],
  ['TCP6', Buffer.from('PROXY TCP6 2001:db8::7 2001:db8::1 1 65535\r\n'), '2001:db8::7'],
  ['UNKNOWN', Buffer.from('PROXY UNKNOWN\r\n'), undefined],
  ['UNKNOWN with more', Buffer.from('PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n'), undefined],
  ['version 2, IPv4', v2(0x21, 0x11, IPV4), '192.0.2.7'],
  ['version 2, IPv4 with more', v2(0x21, 0x11, [...IPV4, 3, 0, 4, 1, 2, 3, 4]), '192.0.2.7'],
  ['version 2, IPv6', v2(0x21, 0x21, IPV6), '2001:db8::7'],
  ['version 2 for itself', v2(0x20, 0, []), undefined],
  ['version 2 for itself with addresses', v2(0x20, 0x11, IPV4), undefined],
  ['version 2 without a family', v2(0x21, 0, []), undefined],
])('%s is read however it is cut, and ends where it ends', (_name, header, address) => {
  for (let cut = 0; cut < header.length; cut++)
    expect(parseProxyHeader(header.subarray(0, cut))).toEqual({ kind: 'more' })
  expect(parseProxyHeader(Buffer.concat([header, Buffer.from(REST)]))).toEqual({
    kind: 'whole',
    length: header.length,
    ...(address !== undefined && { address }),
  })
})

test.each([
  ['no header', Buffer.from(REST)],
  ['lower case', Buffer.from('proxy TCP4 1.2.3.4 1.2.3.4 1 1\r\n')],
  ['another family', Buffer.from('PROXY UDP4 1.2.3.4 1.2.3.4 1 1\r\n')],
  ['the other family', Buffer.from('PROXY TCP4 ::1 ::1 1 1\r\n')],
  ['a name', Buffer.from('PROXY TCP4 localhost 1.2.3.4 1 1\r\n')],
  ['a port that is none', Buffer.from('PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n')],
  ['a port with a zero', Buffer.from('PROXY TCP4 1.2.3.4 1.2.3.4 01 1\r\n')],
  ['two spaces', Buffer.from('PROXY TCP4  1.2.3.4 1.2.3.4 1 1\r\n')],
  ['one thing too many', Buffer.from('PROXY TCP4 1.2.3.4 1.2.3.4 1 1 1\r\n')],
  ['too few', Buffer.from('PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n')],
  ['LF alone', Buffer.from(`PROXY TCP4 1.2.3.4 1.2.3.4 1 1\n${'x'.repeat(100)}`)],
  ['no end', Buffer.from(`PROXY TCP4 ${'1'.repeat(100)}`)],
  ['version 1 in version 2', v2(0x11, 0x11, IPV4)],
  ['another command', v2(0x22, 0x11, IPV4)],
  ['datagrams', v2(0x21, 0x12, IPV4)],
  ['a Unix socket', v2(0x21, 0x31, IPV4)],
  ['half the addresses', v2(0x21, 0x11, IPV4.slice(0, 8))],
  ['too much', v2(0x21, 0x11, IPV4, 5000)],
])('%s is refused', (_name, header) => {
  expect(parseProxyHeader(header)).toMatchObject({ kind: 'bad' })
})
