// The shape of a JSON text, seen without making anything of it: how deep it is nested, how many values it has, how many of them in
// one list or object. To make objects of eight megabytes of `[[[[` or `{},{},` takes the one thread seconds, in which nobody else is
// answered; to look at the bytes takes it some milliseconds. Only what is well balanced is judged: the parser refuses the rest.

const QUOTE = 0x22
const COMMA = 0x2c
const COLON = 0x3a
const OPEN_LIST = 0x5b
const BACKSLASH = 0x5c
const CLOSE_LIST = 0x5d
const OPEN_OBJECT = 0x7b
const CLOSE_OBJECT = 0x7d
/** So many times what is allowed is counted, to be told how much it is. */
const COUNTED = 10
/** How much of a name is shown. */
const MAX_NAME_BYTES = 100

export type ShapeLimits = {
  maxDepth: number
  /** All values together, at whatever depth. */
  maxValues: number
  /** The values of one list or object. */
  maxMembers: number
}

/** Says what is too much of a JSON text, with the name of the field, what was found and what is allowed; or undefined. */
export function findExcess(
  bytes: Buffer,
  { maxDepth, maxValues, maxMembers }: ShapeLimits,
): string | undefined {
  const maxCounted = COUNTED * maxValues
  const members = new Uint32Array(maxDepth + 2)
  /** Where the name of the list or object at each depth begins and ends; nowhere when it has none. */
  const names = new Uint32Array(2 * (maxDepth + 1))
  let depth = 0
  /** The items so far of the list or object that we are in; those around it have theirs in `members`. */
  let items = 0
  let values = 1
  let nameFrom = 0
  let nameTo = 0
  let isNamed = false
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at]
    if (byte === QUOTE) {
      nameFrom = at + 1
      nameTo = endOfText(bytes, at + 1)
      at = nameTo
    } else if (byte === COMMA) {
      if (++values > maxCounted) break
      items++
      isNamed = false
    } else if (byte === COLON) isNamed = true
    else if (byte === OPEN_LIST || byte === OPEN_OBJECT) {
      members[depth] = items
      if (++depth > maxDepth) return `The body may be nested ${maxDepth} deep at most: found more`
      names[2 * depth] = isNamed ? nameFrom : 0
      names[2 * depth + 1] = isNamed ? nameTo : 0
      if (++values > maxCounted) break
      items = 1
      isNamed = false
    } else if (byte === CLOSE_LIST || byte === CLOSE_OBJECT) {
      if (items > maxMembers) {
        const [from = 0, to = 0] = names.subarray(2 * depth)
        const unnamed = depth === 1 ? 'The body' : 'A list in the body'
        const name =
          to > 0 ? `"${bytes.toString('utf8', from, Math.min(to, from + MAX_NAME_BYTES))}"` : unnamed
        return `${name} may have ${maxMembers} items at most: found ${items}`
      }
      // More of them are closed than were opened, where the parser stops as well.
      if (depth === 0) break
      items = members[--depth] ?? 0
      isNamed = false
    }
  }
  if (values <= maxValues) return undefined
  const found = values > maxCounted ? `more than ${maxCounted}` : values
  return `The body may have ${maxValues} values at most: found ${found}`
}

/** Where the quote is that ends a text which begins at `from`; the end of the bytes when there is none. */
function endOfText(bytes: Buffer, from: number): number {
  for (let at = from; at < bytes.length; at++) {
    const byte = bytes[at]
    if (byte === BACKSLASH) at++
    else if (byte === QUOTE) return at
  }
  return bytes.length
}
