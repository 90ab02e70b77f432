// Following terminal output just far enough to know whether a place in it lies within a control sequence (ECMA-48 and what
// xterm adds to it), so that a replay need not begin there and show the rest of a sequence as text.

const STATES = ['ground', 'escape', 'intermediate', 'csi', 'osc', 'string'] as const
export type SequenceState = (typeof STATES)[number]

const BEL = 0x07
const CAN = 0x18
const SUB = 0x1a
const ESC = 0x1b

/** The state after `bytes`. */
export function followSequences(state: SequenceState, bytes: Uint8Array): SequenceState {
  let at = 0
  while (at < bytes.length) {
    if (state === 'ground') {
      // Most output is text, which is passed over at the speed of a memory search.
      at = bytes.indexOf(ESC, at)
      if (at < 0) return 'ground'
    }
    state = step(state, bytes[at] ?? 0)
    at++
  }
  return state
}

/** How many bytes there are before the sequence in `state` has ended, or undefined when it does not end within `bytes`. */
export function lengthOfRest(state: SequenceState, bytes: Uint8Array): number | undefined {
  for (let at = 0; at < bytes.length; at++) {
    if (state === 'ground') return at
    state = step(state, bytes[at] ?? 0)
  }
  return state === 'ground' ? bytes.length : undefined
}

/** How many bytes at the beginning belong to a UTF-8 character whose first byte is not there. */
export function lengthOfCutCharacter(bytes: Uint8Array): number {
  let length = 0
  while (length < 3 && ((bytes[length] ?? 0) & 0xc0) === 0x80) length++
  return length
}

function step(state: SequenceState, byte: number): SequenceState {
  if (byte === CAN || byte === SUB) return 'ground'
  // Also the first half of the terminator of a string, whose second half ends it like any short sequence.
  if (byte === ESC) return 'escape'
  switch (state) {
    case 'ground':
      return 'ground'
    case 'escape':
      return afterEscape(byte)
    case 'intermediate':
      return byte < 0x30 ? 'intermediate' : 'ground'
    case 'csi':
      return byte < 0x40 ? 'csi' : 'ground'
    case 'osc':
      return byte === BEL ? 'ground' : 'osc'
    case 'string':
      return 'string'
  }
}

function afterEscape(byte: number): SequenceState {
  if (byte < 0x20) return 'escape'
  if (byte < 0x30) return 'intermediate'
  const char = String.fromCharCode(byte)
  if (char === '[') return 'csi'
  if (char === ']') return 'osc'
  return 'PX^_'.includes(char) ? 'string' : 'ground'
}
