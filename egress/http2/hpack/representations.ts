// The first bits of a representation (RFC 7541 6), and the numbers that fit into the rest of its first byte.

export const INDEXED = 0x80
export const INDEXED_MAX = 0x7f
export const ADDED = 0x40
export const ADDED_MAX = 0x3f
export const SIZE_UPDATE = 0x20
export const SIZE_UPDATE_MAX = 0x1f
export const NEVER_ADDED = 0x10
export const NOT_ADDED = 0
export const LITERAL_MAX = 0x0f
export const HUFFMAN = 0x80
export const LENGTH_MAX = 0x7f
