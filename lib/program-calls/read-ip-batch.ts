// The lines of `ip -batch` by which a sandbox is joined to the network, as steps. Only those that we write; one that is anything else
// makes all of them undefined.

import { isIP } from 'node:net'

/** Bytes of an address, 4 or 16, and how many of its bits count. */
export type Prefix = { bytes: Uint8Array; bits: number }

export type IpStep =
  | {
      what: 'add pair'
      name: string
      peer: string
      peerPid: number
      /** Absent: the kernel makes them up. */
      mac?: Uint8Array
      peerMac?: Uint8Array
    }
  /** It gives itself no IPv6 address when it is up. */
  | { what: 'no own addresses'; name: string }
  | { what: 'up'; name: string }
  | { what: 'delete'; name: string }
  | { what: 'address'; device: string; prefix: Prefix; skipsDuplicateCheck: boolean }
  | {
      what: 'route'
      device: string
      replaces: boolean
      /** Absent: everything. */
      to?: Prefix
      via?: Uint8Array
      source?: Uint8Array
    }
  | { what: 'neighbour'; device: string; replaces: boolean; address: Uint8Array; mac: Uint8Array }

export function readIpBatch(input: string): IpStep[] | undefined {
  const steps = input
    .split('\n')
    .filter((line) => line !== '')
    .map(readLine)
  return steps.every((step) => step !== undefined) ? steps : undefined
}

function readLine(line: string): IpStep | undefined {
  const [object, verb, ...words] = line.split(' ')
  if (object === 'link') return readLink(verb, words)
  if (object === 'addr' && verb === 'add') return readAddress(words)
  if (object === 'route' && (verb === 'add' || verb === 'replace'))
    return readRoute(words, verb === 'replace')
  if (object === 'neigh' && (verb === 'add' || verb === 'replace'))
    return readNeighbour(words, verb === 'replace')
  return undefined
}

function readLink(verb: string | undefined, words: string[]): IpStep | undefined {
  const [name = '', ...rest] = words
  if (!isName(name)) return undefined
  if (verb === 'set' && rest.join(' ') === 'up') return { what: 'up', name }
  if (verb === 'set' && rest.join(' ') === 'addrgenmode none') return { what: 'no own addresses', name }
  if (verb === 'del' && rest.length === 0) return { what: 'delete', name }
  if (verb !== 'add') return undefined
  const [, , written, peer = '', , peerWritten, pid = ''] =
    /^(address (\S+) )?type veth peer name (\S+) (address (\S+) )?netns ([1-9]\d{0,8})$/.exec(
      rest.join(' '),
    ) ?? []
  const mac = written === undefined ? undefined : readMac(written)
  const peerMac = peerWritten === undefined ? undefined : readMac(peerWritten)
  if (!isName(peer) || (written && !mac) || (peerWritten && !peerMac)) return undefined
  return {
    what: 'add pair',
    name,
    peer,
    peerPid: Number(pid),
    ...(mac && { mac }),
    ...(peerMac && { peerMac }),
  }
}

function readAddress(words: string[]): IpStep | undefined {
  const [written = '', dev, device = '', flag, ...rest] = words
  const prefix = readPrefix(written)
  if (!prefix || dev !== 'dev' || !isName(device) || rest.length > 0) return undefined
  if (flag !== undefined && flag !== 'nodad') return undefined
  return { what: 'address', device, prefix, skipsDuplicateCheck: flag === 'nodad' }
}

function readRoute(words: string[], replaces: boolean): IpStep | undefined {
  const [written = '', ...rest] = words
  const to = written === 'default' ? undefined : readPrefix(written)
  if (written !== 'default' && !to) return undefined
  const found = new Map<string, string>()
  for (let at = 0; at < rest.length; at += 2) {
    const [key = '', value = ''] = rest.slice(at, at + 2)
    if (found.has(key)) return undefined
    found.set(key, value)
  }
  const { dev: device = '', via, src, scope, ...more } = Object.fromEntries(found)
  if (!isName(device) || Object.keys(more).length > 0) return undefined
  const gateway = via === undefined ? undefined : readAddressBytes(via)
  const source = src === undefined ? undefined : readAddressBytes(src)
  if ((via !== undefined && !gateway) || (src !== undefined && !source)) return undefined
  // What has no gateway is on the link, said or not.
  if (scope !== undefined && (scope !== 'link' || via !== undefined)) return undefined
  const lengths = [to?.bytes, gateway, source].flatMap((bytes) => (bytes ? [bytes.length] : []))
  if (new Set(lengths).size !== 1) return undefined
  return {
    what: 'route',
    device,
    replaces,
    ...(to && { to }),
    ...(gateway && { via: gateway }),
    ...(source && { source }),
  }
}

function readNeighbour(words: string[], replaces: boolean): IpStep | undefined {
  const [, written = '', macWritten = '', device = ''] =
    /^(\S+) lladdr (\S+) nud permanent dev (\S+)$/.exec(words.join(' ')) ?? []
  const address = readAddressBytes(written)
  const mac = readMac(macWritten)
  if (!address || !mac || !isName(device)) return undefined
  return { what: 'neighbour', device, replaces, address, mac }
}

function readMac(text: string): Uint8Array | undefined {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/.test(text)) return undefined
  return Uint8Array.from(text.split(':').map((part) => Number.parseInt(part, 16)))
}

/** An address alone is a prefix of all its bits. */
function readPrefix(text: string): Prefix | undefined {
  const [, address = '', , written] = /^([0-9a-f.:]+)(\/(\d{1,3}))?$/.exec(text) ?? []
  const bytes = readAddressBytes(address)
  if (!bytes) return undefined
  const most = bytes.length * 8
  const bits = written === undefined ? most : Number(written)
  return bits > most ? undefined : { bytes, bits }
}

/** Undefined when it is none. An IPv6 address that ends with an IPv4 one is not read here. */
function readAddressBytes(text: string): Uint8Array | undefined {
  if (isIP(text) === 4) return Uint8Array.from(text.split('.').map(Number))
  if (isIP(text) !== 6 || text.includes('.')) return undefined
  const [head = '', tail] = text.split('::')
  const groups = (part: string) =>
    part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16))
  const front = groups(head)
  const back = groups(tail ?? '')
  const all = [...front, ...new Array<number>(8 - front.length - back.length).fill(0), ...back]
  return Uint8Array.from(all.flatMap((group) => [group >> 8, group & 0xff]))
}

/** A name that the kernel takes for an interface, and that is no word of ip's. */
function isName(text: string): boolean {
  return /^[a-z][a-z0-9-]{2,14}$/.test(text)
}
