// What the kernel is sent about interfaces, addresses and routes, and what it answers (rtnetlink(7)). Numbers are in the order of the
// machine's bytes.

import type { MessageWriter } from '../netlink/message-writer.ts'
import { readMessages } from '../netlink/read-messages.ts'
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

/** One request. `sequence` is what its answer is known by. */
export function writeStep(
  to: MessageWriter,
  step: IpStep,
  { sequence, indexOf }: { sequence: number; indexOf: (name: string) => number },
): void {
  const request = (type: number, flags: number, fixed: Uint8Array, body: () => void) =>
    to.message({ type, flags: REQUEST | ACK | flags, sequence }, fixed, body)
  const writeName = (name: string) => to.text(IFLA_IFNAME, name)
  const writeMac = (mac: Uint8Array | undefined) => mac && to.bytes(IFLA_ADDRESS, mac)
  switch (step.what) {
    case 'add pair':
      request(RTM_NEWLINK, CREATE | EXCL, link(), () => {
        writeName(step.name)
        writeMac(step.mac)
        to.nested(IFLA_LINKINFO, () => {
          to.bytes(IFLA_INFO_KIND, Buffer.from('veth'))
          to.nested(IFLA_INFO_DATA, () =>
            to.nested(VETH_INFO_PEER, () => {
              to.fixed(link())
              writeName(step.peer)
              writeMac(step.peerMac)
              to.ownNumber(IFLA_NET_NS_PID, step.peerPid)
            }),
          )
        })
      })
      break
    case 'up':
      request(RTM_NEWLINK, 0, link({ flags: IFF_UP }), () => writeName(step.name))
      break
    case 'no own addresses':
      request(RTM_NEWLINK, 0, link(), () => {
        writeName(step.name)
        to.nested(IFLA_AF_SPEC, () =>
          to.nested(AF_INET6, () => to.bytes(IFLA_INET6_ADDR_GEN_MODE, Uint8Array.of(GENERATE_NONE))),
        )
      })
      break
    case 'delete':
      request(RTM_DELLINK, 0, link(), () => writeName(step.name))
      break
    case 'address': {
      const { bytes, bits } = step.prefix
      const flags = step.skipsDuplicateCheck ? IFA_F_NODAD : 0
      const head = [familyOf(bytes), bits, flags, SCOPE_UNIVERSE, ...own(indexOf(step.device))]
      request(RTM_NEWADDR, CREATE | EXCL, Uint8Array.from(head), () => {
        to.bytes(IFA_LOCAL, bytes)
        to.bytes(IFA_ADDRESS, bytes)
      })
      break
    }
    case 'route': {
      const { to: destination, via, source, replaces } = step
      const family = familyOf((destination?.bytes ?? via ?? source) as Uint8Array)
      const scope = via || family === AF_INET6 ? SCOPE_UNIVERSE : SCOPE_LINK
      const kind = [TABLE_MAIN, MADE_AT_BOOT, scope, UNICAST]
      const head = [family, destination?.bits ?? 0, 0, 0, ...kind, 0, 0, 0, 0]
      request(RTM_NEWROUTE, CREATE | (replaces ? REPLACE : EXCL), Uint8Array.from(head), () => {
        if (destination) to.bytes(RTA_DST, destination.bytes)
        if (via) to.bytes(RTA_GATEWAY, via)
        if (source) to.bytes(RTA_PREFSRC, source)
        to.ownNumber(RTA_OIF, indexOf(step.device))
      })
      break
    }
    case 'neighbour': {
      const { address, mac, device, replaces } = step
      const head = [familyOf(address), 0, 0, 0, ...own(indexOf(device)), NUD_PERMANENT, 0, 0, 0]
      request(RTM_NEWNEIGH, CREATE | (replaces ? REPLACE : EXCL), Uint8Array.from(head), () => {
        to.bytes(NDA_DST, address)
        to.bytes(NDA_LLADDR, mac)
      })
    }
  }
}

/** Asks for an interface by its name. */
export function writeQuestion(to: MessageWriter, interfaceName: string, sequence: number): void {
  to.message({ type: RTM_GETLINK, flags: REQUEST, sequence }, link(), () => {
    to.text(IFLA_IFNAME, interfaceName)
    to.ownNumber(IFLA_EXT_MASK, SKIP_STATISTICS)
  })
}

export type Answer =
  /** `error` is 0 when it was done. */
  { sequence: number; error: number } | { sequence: number; index: number }

/** The answers in what was received. */
export function readAnswers(received: Buffer): Answer[] {
  const answers: Answer[] = []
  for (const { type, sequence, body } of readMessages(received))
    if (type === NLMSG_ERROR && body.length >= 4) answers.push({ sequence, error: -body.readInt32LE() })
    else if (type === RTM_NEWLINK && body.length >= 8) answers.push({ sequence, index: body.readInt32LE(4) })
  return answers
}

/** `struct ifinfomsg`: no family, and no interface but the one that is named. */
function link({ flags = 0 } = {}): Uint8Array {
  return Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, ...own(flags), ...own(flags))
}

const familyOf = (bytes: Uint8Array) => (bytes.length === 4 ? AF_INET : AF_INET6)

/** The bytes of a number. */
function own(value: number): number[] {
  return [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24]
}
