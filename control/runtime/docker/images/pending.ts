// What is being pulled, for the next start of a control that is killed: between the end of a pull and the name that we give, an image
// would lie in the daemon that is nobody's.

import { readdirSync, readFileSync } from 'node:fs'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

export class Pending {
  readonly #folder: string

  constructor(folder: string) {
    this.#folder = folder
  }

  async open(): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 })
  }

  /** Notes that an image is about to be pulled, by its full name with a digest. */
  async begin(id: string, name: string): Promise<void> {
    await writeFile(join(this.#folder, id), name, { mode: 0o600 })
  }

  async end(id: string): Promise<void> {
    await rm(join(this.#folder, id), { force: true })
  }

  /** What a process that is gone had begun. */
  list(): { id: string; name: string }[] {
    return readdirSync(this.#folder).map((id) => ({ id, name: readFileSync(join(this.#folder, id), 'utf8') }))
  }
}
