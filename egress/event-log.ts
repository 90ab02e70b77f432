// The last events of one sandbox, as bytes. Thousands of them come in a second and hardly one is ever read: as objects each would be
// carried along by the collections of the heap, which are pauses for everybody whose connections pass through here.

const MIN_BYTES = 4096
const NO_BYTES = Buffer.alloc(0)

export class EventLog<Event extends object> {
  #bytes = NO_BYTES
  /** Where each that is kept begins, the oldest first. Places count every byte that was ever written. */
  #starts: number[] = []
  #end = 0
  /** The place of the first byte in `#bytes`. */
  #base = 0

  get length(): number {
    return this.#starts.length
  }

  add(event: Event): void {
    const text = JSON.stringify(event)
    const length = Buffer.byteLength(text)
    this.#makeRoom(length)
    this.#bytes.write(text, this.#end - this.#base)
    this.#starts.push(this.#end)
    this.#end += length
  }

  /** Those from `first` to before `end`, counted from the oldest. */
  read(first: number, end: number): Event[] {
    return this.#starts.slice(first, end).map((start, at) => {
      const next = this.#starts[first + at + 1] ?? this.#end
      return JSON.parse(this.#bytes.toString('utf8', start - this.#base, next - this.#base)) as Event
    })
  }

  dropOldest(count: number): void {
    this.#starts.splice(0, count)
  }

  /** Moves what is kept to the front, of other memory when this is too small or much too large. */
  #makeRoom(length: number): void {
    const { length: capacity } = this.#bytes
    if (this.#end + length - this.#base <= capacity) return
    const first = this.#starts[0] ?? this.#end
    const kept = this.#bytes.subarray(first - this.#base, this.#end - this.#base)
    const wanted = Math.max(MIN_BYTES, 2 * (kept.length + length))
    if (capacity < wanted || capacity > 4 * wanted) {
      this.#bytes = Buffer.allocUnsafeSlow(wanted)
      kept.copy(this.#bytes)
    } else this.#bytes.copyWithin(0, first - this.#base, this.#end - this.#base)
    this.#base = first
  }
}
