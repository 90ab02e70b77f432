// Commands that have ended, remembered for a day (contract: v1.1.md 2.1) as far as there is room. What its client has been told
// of, the whole stream to its end, is worth less than a background command whose result nobody has asked for yet, so neither
// pushes out the other.

import type { Command } from './command.ts'

const MAX_AGE_MS = 24 * 3_600_000
const MAX_TOLD = 500
const MAX_UNTOLD = 2000
/** Texts of commands, and output that is not on disk. */
const MAX_MEMORY_BYTES = 8 << 20
/** More output than this in memory goes to disk, the oldest first. */
const MAX_OUTPUT_IN_MEMORY = 2 << 20
const MAX_DISK_BYTES = 512 << 20
const SWEEP_MS = 1000

export class FinishedCommands {
  readonly #forget: (command: Command) => void
  /** Both in the order of their ends. */
  readonly #told = new Map<string, Command>()
  readonly #untold = new Map<string, Command>()
  #sweptAt = 0

  /** `forget` removes what there is of a command beside this. */
  constructor(forget: (command: Command) => void) {
    this.#forget = forget
  }

  add(command: Command): void {
    if (command.isTold) this.#told.set(command.id, command)
    else this.#untold.set(command.id, command)
    this.#bound(this.#told, MAX_TOLD)
    this.#bound(this.#untold, MAX_UNTOLD)
    if (Date.now() - this.#sweptAt > SWEEP_MS) this.sweep()
  }

  find(id: string): Command | undefined {
    return this.#untold.get(id) ?? this.#told.get(id)
  }

  /** In no order. */
  all(): Command[] {
    return [...this.#told.values(), ...this.#untold.values()]
  }

  /** Forgets what is too old or too much. No timer does this: it is done while commands end, and when someone looks. */
  sweep(): void {
    this.#sweptAt = Date.now()
    for (const shelf of [this.#told, this.#untold]) {
      let memory = sum(shelf, memoryBytes)
      let output = sum(shelf, ({ journal }) => journal.bytesInMemory)
      let disk = sum(shelf, ({ journal }) => journal.bytesOnDisk)
      for (const command of shelf.values()) {
        const isOld = this.#sweptAt - (command.finishedAt ?? 0) > MAX_AGE_MS
        if (isOld || memory > MAX_MEMORY_BYTES || disk > MAX_DISK_BYTES) {
          memory -= memoryBytes(command)
          output -= command.journal.bytesInMemory
          disk -= command.journal.bytesOnDisk
          shelf.delete(command.id)
          this.#forget(command)
        } else if (output > MAX_OUTPUT_IN_MEMORY) {
          output -= command.journal.bytesInMemory
          if (command.journal.bytesInMemory > 0) command.journal.toDisk()
        } else break
      }
    }
  }

  #bound(shelf: Map<string, Command>, most: number): void {
    for (const [id, command] of shelf) {
      if (shelf.size <= most) return
      shelf.delete(id)
      this.#forget(command)
    }
  }
}

function memoryBytes({ content, journal }: Command): number {
  return content.length + journal.bytesInMemory
}

function sum(shelf: Map<string, Command>, bytesOf: (command: Command) => number): number {
  let total = 0
  for (const command of shelf.values()) total += bytesOf(command)
  return total
}
