import { describe, expect, test } from 'vitest'
import { MessageWriter } from '../../lib/netlink/message-writer.ts'
import { type IpStep, readIpBatch } from '../../lib/program-calls/read-ip-batch.ts'
import { readMount } from '../../lib/program-calls/read-mount.ts'
import { readAnswers, writeQuestion, writeStep } from '../../lib/program-calls/rtnetlink.ts'

const prefix = (bytes: number[], bits: number) => ({ bytes: Uint8Array.from(bytes), bits })
const V6 = [0xfd, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xab, 0xcd]

describe('readIpBatch()', () => {
  test.each([
    [
      'link add eth0 type veth peer name os-12 netns 77',
      { what: 'add pair', name: 'eth0', peer: 'os-12', peerPid: 77 },
    ],
    [
      'link add eth0 address 0a:58:0a:01:02:03 type veth peer name os-12 address 0e:58:0a:01:02:03 netns 77',
      {
        what: 'add pair',
        name: 'eth0',
        peer: 'os-12',
        peerPid: 77,
        mac: Uint8Array.from([10, 0x58, 10, 1, 2, 3]),
        peerMac: Uint8Array.from([14, 0x58, 10, 1, 2, 3]),
      },
    ],
    ['link set os-12 addrgenmode none', { what: 'no own addresses', name: 'os-12' }],
    [
      'neigh replace fd00:1::abcd lladdr 0a:58:0a:01:02:03 nud permanent dev os-12',
      {
        what: 'neighbour',
        device: 'os-12',
        replaces: true,
        address: Uint8Array.from(V6),
        mac: Uint8Array.from([10, 0x58, 10, 1, 2, 3]),
      },
    ],
    ['link set os-12 up', { what: 'up', name: 'os-12' }],
    ['link del os-12', { what: 'delete', name: 'os-12' }],
    [
      'addr add 10.1.2.3/32 dev eth0',
      { what: 'address', device: 'eth0', prefix: prefix([10, 1, 2, 3], 32), skipsDuplicateCheck: false },
    ],
    [
      'addr add fd00:1::abcd/128 dev eth0 nodad',
      { what: 'address', device: 'eth0', prefix: prefix(V6, 128), skipsDuplicateCheck: true },
    ],
    [
      'route add 10.1.0.1 dev eth0 scope link',
      { what: 'route', device: 'eth0', replaces: false, to: prefix([10, 1, 0, 1], 32) },
    ],
    [
      'route add default via 10.1.0.1 dev eth0',
      { what: 'route', device: 'eth0', replaces: false, via: Uint8Array.from([10, 1, 0, 1]) },
    ],
    [
      'route add default via fd00:1::abcd dev eth0',
      { what: 'route', device: 'eth0', replaces: false, via: Uint8Array.from(V6) },
    ],
    [
      'route replace 10.1.2.3/32 dev os-12 src 10.1.0.1',
      {
        what: 'route',
        device: 'os-12',
        replaces: true,
        to: prefix([10, 1, 2, 3], 32),
        source: Uint8Array.from([10, 1, 0, 1]),
      },
    ],
  ])('reads "%s"', (line, step) => {
    expect(readIpBatch(`${line}\n`)).toEqual([step])
  }) // prettier-ignore

  test.each([
    'link set eth0 down',
    'link set eth0 up mtu 1400',
    'link set eth0 addrgenmode eui64',
    'link add eth0 address 0a:58:0a:01:02 type veth peer name os-12 netns 7',
    'link add eth0 type veth peer name os-12 address 0a:58:0a:01:02:zz netns 7',
    'neigh add fd00::1 lladdr 0a:58:0a:01:02:03 nud reachable dev eth0',
    'neigh add fd00::1 lladdr 0a:58:0a:01:02 nud permanent dev eth0',
    'neigh add fd00::zz lladdr 0a:58:0a:01:02:03 nud permanent dev eth0',
    'link add eth0 type dummy',
    'link add eth0 type veth peer name os-12 netns blue',
    'link add eth0 type veth peer name a-name-that-is-too-long netns 7',
    'link del',
    'addr add 10.1.2.3/33 dev eth0',
    'addr add 10.1.2.3/32 dev eth0 label eth0:1',
    'addr add 10.1.2/32 dev eth0',
    'addr add ::ffff:10.1.2.3/128 dev eth0',
    'addr del 10.1.2.3/32 dev eth0',
    'route add default dev eth0',
    'route add 10.1.0.1 via 10.1.0.2 dev eth0 scope link',
    'route add 10.1.0.1 dev eth0 scope host',
    'route add 10.1.0.1 via fd00::1 dev eth0',
    'route add 10.1.0.1 dev eth0 metric 5',
    'route add 10.1.0.1 dev eth0 dev eth1',
    'route add 10.1.0.1 dev',
    'route add blackhole 10.1.0.1',
    'neigh flush dev eth0',
    ' link del eth0',
  ])('leaves "%s" to ip, and all that is with it', (line) => {
    expect(readIpBatch(`link set os-12 up\n${line}\n`)).toBeUndefined()
  })
})

describe('readMount()', () => {
  const overlay = 'lowerdir=/a:/b,upperdir=/c,workdir=/d'
  test.each([
    [
      'mount',
      ['-t', 'overlay', 'overlay', '-o', overlay, '/m'],
      { what: 'mount', source: 'overlay', target: '/m', type: 'overlay', flags: 0, data: overlay },
    ],
    ['mount', ['-t', 'tmpfs', '-o', 'size=9,nosuid,nodev,mode=0700,noexec', 'exchange', '/m'], undefined],
    [
      'mount',
      ['-t', 'tmpfs', 'exchange', '-o', 'size=9,nosuid,nodev,mode=0700,noexec', '/m'],
      { what: 'mount', source: 'exchange', target: '/m', type: 'tmpfs', flags: 14, data: 'size=9,mode=0700' },
    ],
    [
      'mount',
      ['--no-canonicalize', '--bind', '/proc/7/fd/9', '/m'],
      { what: 'mount', source: '/proc/7/fd/9', target: '/m', type: null, flags: 4096, data: null },
    ],
    ['umount', ['--lazy', '--no-canonicalize', '/m'], { what: 'unmount', target: '/m', flags: 10 }],
    ['mount', ['-t', 'overlay', 'overlay', '-o', `${overlay},index=off`, '/m'], undefined],
    ['mount', ['-t', 'overlay', 'overlay', '-o', 'ro', '/m'], undefined],
    ['mount', ['-t', 'overlay', 'overlay', '-o', `lowerdir=/${'x'.repeat(5000)}`, '/m'], undefined],
    ['mount', ['-t', 'ext4', '-o', 'loop', '/file', '/m'], undefined],
    ['mount', ['-t', 'ext4', '/file', '-o', 'loop', '/m'], undefined],
    ['mount', ['--no-canonicalize', '--bind', '/a', '/m', '-r'], undefined],
    ['mount', ['--no-canonicalize', '--bind', '', '/m'], undefined],
    ['umount', ['--lazy', '--no-canonicalize', '/m', '/n'], undefined],
    ['umount', ['--no-canonicalize', '--lazy', '/m'], undefined],
    ['umount', ['--lazy', '--no-canonicalize', '/m\0/n'], undefined],
    ['runc', ['run'], undefined],
  ])('%s %j', (program, args, call) => {
    expect(readMount(program, args)).toEqual(call)
  }) // prettier-ignore
})

describe('rtnetlink', () => {
  const written = (write: (to: MessageWriter) => void) => {
    const to = new MessageWriter()
    write(to)
    return Buffer.from(to.written)
  }
  const step = (what: IpStep, sequence: number) =>
    written((to) => writeStep(to, what, { sequence, indexOf: () => 5 })).toString('hex')

  test('an interface is set up by its name (struct nlmsghdr, struct ifinfomsg, IFLA_IFNAME)', () => {
    expect(step({ what: 'up', name: 'eth0' }, 3)).toBe(
      '2c000000' +
        '1000' +
        '0500' +
        '03000000' +
        '00000000' + // 44 bytes, RTM_NEWLINK, REQUEST | ACK, sequence, no port
        '00000000' +
        '00000000' +
        '01000000' +
        '01000000' + // any family, no index, IFF_UP, of these flags that one
        '0900' +
        '0300' +
        '65746830' +
        '00000000',
    ) // prettier-ignore
  })

  test('an address carries itself twice, and the number of its interface', () => {
    const address = {
      what: 'address',
      device: 'eth0',
      prefix: prefix([10, 1, 2, 3], 32),
      skipsDuplicateCheck: false,
    } as const // prettier-ignore
    expect(step(address, 1)).toBe(
      '28000000' +
        '1400' +
        '0506' +
        '01000000' +
        '00000000' +
        '02200000' +
        '05000000' +
        '0800' +
        '0200' +
        '0a010203' +
        '0800' +
        '0100' +
        '0a010203',
    ) // prettier-ignore
  })

  test('answers are told apart by their sequence, and what is cut off is no answer', () => {
    const done = Buffer.from(
      `24000000${'0200'}0000${'07000000'}00000000${'efffffff'}${'00'.repeat(16)}`,
      'hex',
    )
    const found = written((to) => writeQuestion(to, 'eth0', 8))
    found.writeUInt16LE(16, 4)
    found.writeInt32LE(42, 20)
    expect(readAnswers(Buffer.concat([done, found]))).toEqual([
      { sequence: 7, error: 17 },
      { sequence: 8, index: 42 },
    ])
    expect(readAnswers(done.subarray(0, 30))).toEqual([])
    expect(readAnswers(Buffer.alloc(64))).toEqual([])
  })
})
