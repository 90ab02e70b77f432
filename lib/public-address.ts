// The address under which clients reach this machine (`server.eip`, contract: lifecycle.md 6.2): host, port and path, read once for
// all who need a part of it. Pure.

const SHAPE =
  /^(?:[a-z]+:\/\/)?((?:\[[0-9a-f:.]+\]|[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?)(?::([1-9]\d{0,4}))?)((?:\/[\w.~!$&'()*+,;=:@%-]*)*)$/i

/** How it is written in every address that clients are given: without scheme, and without a slash at the end. */
export function parsePublicAddress(text: string): string | undefined {
  const [, host, port, path = ''] = SHAPE.exec(text) ?? []
  if (host === undefined || Number(port ?? 1) > 65_535) return undefined
  return `${host}${path.replace(/\/+$/, '')}`
}

/** The name or address of one that was read, without port and path. */
export function hostOfPublicAddress(address: string): string {
  return address.replace(/\/.*$/, '').replace(/:\d+$/, '')
}
