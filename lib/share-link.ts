// Links that open one port of one sandbox: how what they carry is written. Control makes them and keeps a hash, the gateway is
// told the hash by the routes feed and compares.

/** In which a browser brings it, once: the gateway takes it out of the address. */
export const SHARE_PARAMETER = 'opensandbox_share'
/** In which a program brings it. */
export const SHARE_HEADER = 'OpenSandbox-Share'

/** Recognisable to scanners for leaked secrets, and to whoever finds it in a log. */
const PREFIX = 'oss_'
const TOKEN = /^oss_([0-9a-f]{16})_([0-9a-f]{64})$/
const ID = /^[0-9a-f]{16}$/

export function isShareId(text: string): boolean {
  return ID.test(text)
}

export function formatShareToken({ id, secret }: { id: string; secret: string }): string {
  return `${PREFIX}${id}_${secret}`
}

/** Undefined when it is no such token. */
export function parseShareToken(token: string): { id: string; secret: string } | undefined {
  const [, id, secret] = TOKEN.exec(token) ?? []
  return id !== undefined && secret !== undefined ? { id, secret } : undefined
}
