// Writing a tar as its entries come.

import type { Users } from '../../users.ts'
import { type Names, rememberNames } from '../info.ts'
import type { ArchiveOutput } from './output.ts'
import type { ArchiveWriter, Packed } from './pack.ts'
import { formatTarHead, padding, tarEnd } from './tar-format.ts'

export class TarWriter implements ArchiveWriter {
  readonly #output: ArchiveOutput
  readonly #names: Names

  constructor(output: ArchiveOutput, users: Users) {
    this.#output = output
    this.#names = rememberNames(users)
  }

  add({ name, type, stat, target, size, content }: Packed): undefined | Promise<void> {
    const output = this.#output
    const head = formatTarHead({
      name: type === 'directory' ? `${name}/` : name,
      type,
      mode: stat.mode,
      size,
      mtimeMs: stat.mtimeMs,
      target,
      uid: stat.uid,
      gid: stat.gid,
      owner: this.#names.ownerOf(stat.uid),
      group: this.#names.groupOf(stat.gid),
    })
    if (content && !Buffer.isBuffer(content)) return this.#addLarge(head, size, content)
    const parts = content ? [head, content, padding(size)] : [head]
    let waiting: undefined | Promise<void>
    // In order, and without waiting where nobody has to.
    for (const part of parts) waiting = waiting ? waiting.then(() => output.write(part)) : output.write(part)
    return waiting
  }

  async end(): Promise<void> {
    await this.#output.write(tarEnd())
  }

  async #addLarge(head: Buffer, size: number, content: AsyncIterable<Buffer>): Promise<void> {
    await this.#output.write(head)
    for await (const piece of content) await this.#output.write(piece)
    await this.#output.write(padding(size))
  }
}
