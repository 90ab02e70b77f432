// Text in the Huffman code of HPACK (RFC 7541 5.2 and appendix B). It is read half a byte at a time by a state machine: the states are the
// places in the tree of the code where a half byte can end.

/** How many bits the code of each byte has, and of the end of the text. Codes of the same length go up with what they stand for, so
 *  these are the whole code. */
// biome-ignore format: sixteen bytes twice in each row
const CODE_LENGTHS: readonly number[] = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
  6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
  13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
  15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
  20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
  22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
  26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
  20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
  30,
]

const END_OF_TEXT = 256

const STEP_BITS = 4
const STEPS = 1 << STEP_BITS
/** The code fills up a last byte by ones: by fewer than eight. */
const MAX_PADDING_BITS = 7

/** A step of the machine is the state that it leads to, and the byte that it completes, if it does. No code is so short that one step
 *  completes two. */
const STATE = 255
const BYTE_SHIFT = 8
/** Above the byte, so that it falls away where that is written. */
const COMPLETES = 1 << 16
/** Nothing may lead here: the end of the text in the middle of it. */
const WRONG = -1

const TREE = growTree()
const STEP_TABLE = tabulateSteps()
const CAN_END = findEnds()

/** Room for any text of so many coded bytes. */
export function maxTextBytes(codedBytes: number): number {
  return Math.floor((codedBytes * 8) / 5)
}

/** Reads a text into `target`, which must have the room for it. Returns how long it is, or -1 when it is none. */
export function decodeHuffman(source: Uint8Array, start: number, end: number, target: Uint8Array): number {
  let state = 0
  let length = 0
  for (let at = start; at < end; at++) {
    const byte = source[at]!
    const high = STEP_TABLE[(state << STEP_BITS) | (byte >> STEP_BITS)]!
    if (high === WRONG) return -1
    if (high >= COMPLETES) target[length++] = high >> BYTE_SHIFT
    const low = STEP_TABLE[((high & STATE) << STEP_BITS) | (byte & (STEPS - 1))]!
    if (low === WRONG) return -1
    if (low >= COMPLETES) target[length++] = low >> BYTE_SHIFT
    state = low & STATE
  }
  return CAN_END[state] === 1 ? length : -1
}

/** The tree of the code: at twice the number of a place what follows it by a 0, and behind it by a 1: another place, or, as its
 *  complement, what the code stands for. The root is 0. */
function growTree(): Int16Array {
  const tree = new Int16Array(2 * END_OF_TEXT)
  const inOrder = [...CODE_LENGTHS.keys()].sort(
    (one, other) => CODE_LENGTHS[one]! - CODE_LENGTHS[other]! || one - other,
  )
  let places = 1
  let code = 0
  let lastLength = 0
  for (const meant of inOrder) {
    const length = CODE_LENGTHS[meant]!
    code <<= length - lastLength
    lastLength = length
    let place = 0
    for (let bit = length - 1; bit > 0; bit--) {
      const branch = 2 * place + ((code >> bit) & 1)
      if (tree[branch] === 0) tree[branch] = places++
      place = tree[branch]!
    }
    tree[2 * place + (code & 1)] = ~meant
    code++
  }
  return tree
}

function tabulateSteps(): Int32Array {
  const table = new Int32Array(END_OF_TEXT * STEPS)
  for (let state = 0; state < END_OF_TEXT; state++)
    for (let bits = 0; bits < STEPS; bits++) table[(state << STEP_BITS) | bits] = stepOf(state, bits)
  return table
}

function stepOf(state: number, bits: number): number {
  let place = state
  let completed = 0
  for (let bit = STEP_BITS - 1; bit >= 0; bit--) {
    place = TREE[2 * place + ((bits >> bit) & 1)]!
    if (place >= 0) continue
    if (~place === END_OF_TEXT) return WRONG
    completed = COMPLETES | (~place << BYTE_SHIFT)
    place = 0
  }
  return completed | place
}

/** The states in which a text can end: between two codes, and after a few ones. */
function findEnds(): Uint8Array {
  const ends = new Uint8Array(END_OF_TEXT)
  let place = 0
  for (let ones = 0; ones <= MAX_PADDING_BITS; ones++) {
    ends[place] = 1
    place = TREE[2 * place + 1]!
  }
  return ends
}
