// What the kernel is sent about interfaces, addresses and routes, and what it answers (rtnetlink(7), netlink(7)). Numbers are in the
// order of the machine's bytes, which is this one on all that we run on.

import type { IpStep } from './read-ip-batch.ts'

const NLMSG_ERROR = 2
const RTM_NEWLINK = 16
const RTM_DELLINK = 17
const RTM_GETLINK = 18
const RTM_NEWADDR = 20
const RTM_NEWROUTE = 24
const RTM_NEWNEIGH = 28

const REQUEST = 0x1
const ACK = 0x4
const REPLACE = 0x100
const EXCL = 0x200
const CREATE = 0x400

const IFLA_ADDRESS = 1
const IFLA_IFNAME = 3
const IFLA_LINKINFO = 18
const IFLA_NET_NS_PID = 19
const IFLA_AF_SPEC = 26
const IFLA_EXT_MASK = 29
const IFLA_INFO_KIND = 1
const IFLA_INFO_DATA = 2
const VETH_INFO_PEER = 1
const IFLA_INET6_ADDR_GEN_MODE = 8
const GENERATE_NONE = 1
const SKIP_STATISTICS = 8
const IFA_ADDRESS = 1
const IFA_LOCAL = 2
const IFA_F_NODAD = 2
const RTA_DST = 1
const RTA_OIF = 4
const RTA_GATEWAY = 5
const RTA_PREFSRC = 7
const NDA_DST = 1
const NDA_LLADDR = 2
const NUD_PERMANENT = 0x80

const IFF_UP = 1
const AF_INET = 2
const AF_INET6 = 10
const TABLE_MAIN = 254
const MADE_AT_BOOT = 3
const SCOPE_UNIVERSE = 0
const SCOPE_LINK = 253
const UNICAST = 1

const HEADER_BYTES = 16

/** One request. `sequence` is what its answer is known by. */
export function formatStep(step: IpStep, sequence: number, indexOf: (name: string) => number): Buffer {
  switch (step.what) {
    case 'add pair': {
      const peer = [
        link(),
        name(step.peer),
        ...macOf(step.peerMac),
        attribute(IFLA_NET_NS_PID, u32(step.peerPid)),
      ]
      const info = [
        attribute(IFLA_INFO_KIND, Buffer.from('veth')),
        attribute(IFLA_INFO_DATA, attribute(VETH_INFO_PEER, Buffer.concat(peer))),
      ]
      const body = [
        link(),
        name(step.name),
        ...macOf(step.mac),
        attribute(IFLA_LINKINFO, Buffer.concat(info)),
      ]
      return message(RTM_NEWLINK, ACK | CREATE | EXCL, sequence, body)
    }
    case 'up':
      return message(RTM_NEWLINK, ACK, sequence, [link({ flags: IFF_UP }), name(step.name)])
    case 'no own addresses': {
      const mode = attribute(IFLA_INET6_ADDR_GEN_MODE, Buffer.from([GENERATE_NONE]))
      const body = [link(), name(step.name), attribute(IFLA_AF_SPEC, attribute(AF_INET6, mode))]
      return message(RTM_NEWLINK, ACK, sequence, body)
    }
    case 'delete':
      return message(RTM_DELLINK, ACK, sequence, [link(), name(step.name)])
    case 'address': {
      const { bytes, bits } = step.prefix
      const head = [familyOf(bytes), bits, step.skipsDuplicateCheck ? IFA_F_NODAD : 0, SCOPE_UNIVERSE]
      return message(RTM_NEWADDR, ACK | CREATE | EXCL, sequence, [
        Buffer.from(head),
        u32(indexOf(step.device)),
        attribute(IFA_LOCAL, bytes),
        attribute(IFA_ADDRESS, bytes),
      ])
    }
    case 'route': {
      const { to, via, source } = step
      const family = familyOf((to?.bytes ?? via ?? source) as Uint8Array)
      const scope = via || family === AF_INET6 ? SCOPE_UNIVERSE : SCOPE_LINK
      const head = [family, to?.bits ?? 0, 0, 0, TABLE_MAIN, MADE_AT_BOOT, scope, UNICAST, 0, 0, 0, 0]
      return message(RTM_NEWROUTE, ACK | CREATE | (step.replaces ? REPLACE : EXCL), sequence, [
        Buffer.from(head),
        ...(to ? [attribute(RTA_DST, to.bytes)] : []),
        ...(via ? [attribute(RTA_GATEWAY, via)] : []),
        ...(source ? [attribute(RTA_PREFSRC, source)] : []),
        attribute(RTA_OIF, u32(indexOf(step.device))),
      ])
    }
    case 'neighbour':
      return message(RTM_NEWNEIGH, ACK | CREATE | (step.replaces ? REPLACE : EXCL), sequence, [
        Buffer.from([familyOf(step.address), 0, 0, 0]),
        u32(indexOf(step.device)),
        Buffer.from([NUD_PERMANENT, 0, 0, 0]),
        attribute(NDA_DST, step.address),
        attribute(NDA_LLADDR, step.mac),
      ])
  }
}

/** Asks for an interface by its name. */
export function formatQuestion(interfaceName: string, sequence: number): Buffer {
  return message(RTM_GETLINK, 0, sequence, [
    link(),
    name(interfaceName),
    attribute(IFLA_EXT_MASK, u32(SKIP_STATISTICS)),
  ])
}

export type Answer =
  /** `error` is 0 when it was done. */
  { sequence: number; error: number } | { sequence: number; index: number }

/** The answers in what was received at once. */
export function readAnswers(bytes: Buffer): Answer[] {
  const answers: Answer[] = []
  for (let at = 0; at + HEADER_BYTES <= bytes.length; ) {
    const size = bytes.readUInt32LE(at)
    if (size < HEADER_BYTES || at + size > bytes.length) break
    const type = bytes.readUInt16LE(at + 4)
    const sequence = bytes.readUInt32LE(at + 8)
    if (type === NLMSG_ERROR && size >= HEADER_BYTES + 4)
      answers.push({ sequence, error: -bytes.readInt32LE(at + HEADER_BYTES) })
    else if (type === RTM_NEWLINK && size >= HEADER_BYTES + 8)
      answers.push({ sequence, index: bytes.readInt32LE(at + HEADER_BYTES + 4) })
    at += aligned(size)
  }
  return answers
}

function message(type: number, flags: number, sequence: number, body: Buffer[]): Buffer {
  const content = Buffer.concat(body)
  const made = Buffer.alloc(HEADER_BYTES + aligned(content.length))
  made.writeUInt32LE(HEADER_BYTES + content.length, 0)
  made.writeUInt16LE(type, 4)
  made.writeUInt16LE(REQUEST | flags, 6)
  made.writeUInt32LE(sequence, 8)
  content.copy(made, HEADER_BYTES)
  return made
}

function attribute(type: number, value: Uint8Array): Buffer {
  const made = Buffer.alloc(aligned(4 + value.length))
  made.writeUInt16LE(4 + value.length, 0)
  made.writeUInt16LE(type, 2)
  made.set(value, 4)
  return made
}

/** `struct ifinfomsg`: no family, and no interface but the one that is named. */
function link({ flags = 0 } = {}): Buffer {
  const made = Buffer.alloc(16)
  made.writeUInt32LE(flags, 8)
  made.writeUInt32LE(flags, 12)
  return made
}

const name = (text: string) => attribute(IFLA_IFNAME, Buffer.from(`${text}\0`))
const macOf = (mac: Uint8Array | undefined) => (mac ? [attribute(IFLA_ADDRESS, mac)] : [])
const familyOf = (bytes: Uint8Array) => (bytes.length === 4 ? AF_INET : AF_INET6)
const aligned = (size: number) => (size + 3) & ~3

function u32(value: number): Buffer {
  const made = Buffer.alloc(4)
  made.writeUInt32LE(value)
  return made
}
