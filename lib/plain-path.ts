// Whether a path lies below another one, for whoever reads it. A sandbox's server may resolve dots, decode once more than others do
// or take two slashes for one, so a path that two readers could take for different places is below nothing. Pure.

/** More often nothing decodes a path. */
const MAX_DECODINGS = 4

/** Whether `target`, with its query or without, is `path` or something below it; both in raw bytes. */
export function isBelow(target: string, path: string): boolean {
  const [own = ''] = target.split('?', 1)
  if (!isPlain(own)) return false
  const base = path.endsWith('/') ? path.slice(0, -1) : path
  return own === base || own.startsWith(`${base}/`)
}

/** Whether every reader takes a path for the same place. */
export function isPlain(path: string): boolean {
  let read = path
  for (let times = 0; times < MAX_DECODINGS; times++) {
    if (!read.startsWith('/') || /\/\/|\\|[\0#]/.test(read)) return false
    // With a parameter behind it, too: some servers take `..;x` for `..`.
    if (read.split('/').some((part) => /^\.{1,2}(?:;|$)/.test(part))) return false
    const decoded = decode(read)
    if (decoded === undefined) return false
    if (decoded === read) return true
    // A slash or a question mark that was hidden would begin something else.
    if (countOf(decoded) !== countOf(read)) return false
    read = decoded
  }
  return false
}

/** Undefined when a percent sign has no two digits behind it. */
function decode(text: string): string | undefined {
  if (/%(?![0-9a-fA-F]{2})/.test(text)) return undefined
  return text.replace(/%([0-9a-fA-F]{2})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 16)),
  )
}

function countOf(text: string): number {
  return text.replace(/[^/?]/g, '').length
}
