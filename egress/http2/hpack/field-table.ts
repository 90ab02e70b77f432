// The dynamic table (RFC 7541 2.3.2): the fields that came last, the oldest of which leave to make room. A ring, so that none of them is
// ever moved. Each has a number that it keeps: 0 is the first that was put in.

/** What an entry takes beside its name and its value (RFC 7541 4.1). */
export const ENTRY_BYTES = 32
/** The limit that both ends begin with (RFC 9113 6.5.2). */
export const FIRST_LIMIT_BYTES = 4096

export class FieldTable {
  /** They get their slots one after the other, so that a table that is hardly used is small. */
  readonly #names: string[] = []
  readonly #values: string[] = []
  /** Makes a slot of a number: there are as many slots as a power of two. */
  readonly #mask: number
  #next = 0
  #oldest = 0
  #bytes = 0
  #limitBytes = FIRST_LIMIT_BYTES

  /** `maxBytes` is the largest limit that it is ever given. */
  constructor(maxBytes: number) {
    let slots = 1
    while (slots * ENTRY_BYTES < Math.max(maxBytes, FIRST_LIMIT_BYTES)) slots *= 2
    this.#mask = slots - 1
  }

  /** The number that the next one gets. */
  get next(): number {
    return this.#next
  }

  /** The number of the oldest that is there; that of the next one when none is. */
  get oldest(): number {
    return this.#oldest
  }

  get bytes(): number {
    return this.#bytes
  }

  get limitBytes(): number {
    return this.#limitBytes
  }

  nameOf(number: number): string {
    return this.#names[number & this.#mask]!
  }

  valueOf(number: number): string {
    return this.#values[number & this.#mask]!
  }

  limitTo(bytes: number): void {
    this.#limitBytes = bytes
    while (this.#bytes > bytes) this.dropOldest()
  }

  hasRoom(bytes: number): boolean {
    return this.#bytes + bytes <= this.#limitBytes
  }

  /** One that is larger than the limit leaves an empty table, and is not in it (RFC 7541 4.4). */
  add(name: string, value: string): void {
    const bytes = entryBytes(name, value)
    while (this.#bytes > 0 && !this.hasRoom(bytes)) this.dropOldest()
    if (bytes > this.#limitBytes) return
    const slot = this.#next++ & this.#mask
    this.#names[slot] = name
    this.#values[slot] = value
    this.#bytes += bytes
  }

  dropOldest(): void {
    const slot = this.#oldest++ & this.#mask
    this.#bytes -= entryBytes(this.#names[slot]!, this.#values[slot]!)
    // Nothing is held that does not count any more.
    this.#names[slot] = ''
    this.#values[slot] = ''
  }
}

/** As a list of fields is counted, too (RFC 9113 6.5.2). */
export function entryBytes(name: string, value: string): number {
  return name.length + value.length + ENTRY_BYTES
}
