// How a secret may be written where a server repeats it: as it is, with escapes, or within a longer text that is packed as base64. Pure.

/** What is shorter is found in texts that have nothing to do with it. */
const MIN_PACKED_BYTES = 6

/** The ways of writing a secret that are looked for letter by letter. Escapes with `%` are undone before (see `withoutEscapes`). */
export function writtenForms(secret: string): string[] {
  const inJson = JSON.stringify(secret).slice(1, -1)
  const inAddress = encodeURIComponent(secret.toWellFormed())
  return [...new Set([secret, inJson, inAddress, ...packedForms(secret)])].filter((form) => form !== '')
}

/** What stands in the place of the password and the user, and each by itself: of `base64(user:password)`. */
export function unpackedBasic(secret: string): string[] {
  const text = Buffer.from(secret, 'base64').toString()
  const colon = text.indexOf(':')
  if (colon < 0 || Buffer.from(text).toString('base64').replace(/=+$/, '') !== secret.replace(/=+$/, ''))
    return []
  const password = text.slice(colon + 1)
  return password.length < MIN_PACKED_BYTES ? [text] : [text, password]
}

/** A text with its escapes of bytes undone, twice: one that is put into an address is escaped once more. */
export function withoutEscapes(text: string): string {
  if (!text.includes('%')) return text
  const undone = undoEscapes(text.replaceAll('+', ' '))
  return `${undone}\n${undoEscapes(text)}\n${undoEscapes(undoEscapes(text))}`
}

function undoEscapes(text: string): string {
  return text.replace(/(%[0-9a-f]{2})+/gi, (found) =>
    Buffer.from(found.replaceAll('%', ''), 'hex').toString('latin1'),
  )
}

/** What base64 of any text has in it that has the secret in it: by where in a group of three bytes the secret begins. */
function packedForms(secret: string): string[] {
  const bytes = Buffer.from(secret)
  if (bytes.length < MIN_PACKED_BYTES) return []
  return [0, 1, 2].flatMap((before) => {
    const whole = Buffer.concat([Buffer.alloc(before), bytes])
    // The characters at both ends have bits of what stands beside it.
    const from = Math.ceil((before * 8) / 6)
    const to = Math.floor((whole.length * 8) / 6)
    return [whole.toString('base64').slice(from, to), whole.toString('base64url').slice(from, to)]
  })
}
