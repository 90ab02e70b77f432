// The vaults on the disk: a sealed file for each sandbox, written beside and renamed, so that a restart finds the old or the new one.

import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { messageOf } from '../../lib/errors.ts'
import { type Sealing, sealedSchema } from './sealing.ts'
import type { Binding, Credential, Vault } from './vault.ts'

export type VaultFiles = {
  /** Those that can be read, and the ids of those that cannot, with the reason. */
  load(): { vaults: Map<string, Vault>; unreadable: Map<string, string> }
  write(id: string, vault: Vault): void
  remove(id: string): void
}

const NAME = /^([a-z0-9-]{1,63})\.vault$/
const fileSchema = z.strictObject({
  revision: z.int().positive(),
  sealed: sealedSchema,
})

type Contents = { credentials: Credential[]; bindings: Binding[] }

/** The files in a directory, which is made if missing, readable by its owner alone. */
export function openVaultFiles(directory: string, sealing: Sealing): VaultFiles {
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const pathOf = (id: string) => join(directory, `${id}.vault`)
  let count = 0
  const write = (id: string, { revision, credentials, bindings }: Vault) => {
    const contents: Contents = { credentials: [...credentials.values()], bindings: [...bindings.values()] }
    const sealed = sealing.seal(JSON.stringify(contents), contextOf(id, revision))
    const temporary = join(directory, `.${id}.${count++}`)
    try {
      writeFileSync(temporary, JSON.stringify({ revision, sealed }), { mode: 0o600 })
      renameSync(temporary, pathOf(id))
    } catch (error) {
      rmSync(temporary, { force: true })
      throw error
    }
  }
  return {
    load() {
      const vaults = new Map<string, Vault>()
      const unreadable = new Map<string, string>()
      for (const name of readdirSync(directory)) {
        const id = NAME.exec(name)?.[1]
        if (id === undefined) {
          // Left by a write that was interrupted.
          rmSync(join(directory, name), { force: true, recursive: true })
          continue
        }
        try {
          const { revision, sealed } = fileSchema.parse(JSON.parse(readFileSync(pathOf(id), 'utf8')))
          const { credentials, bindings } = JSON.parse(
            sealing.open(sealed, contextOf(id, revision)),
          ) as Contents
          const vault = { revision, credentials: byName(credentials), bindings: byName(bindings) }
          vaults.set(id, vault)
          if (!sealing.isCurrent(sealed)) write(id, vault)
        } catch (error) {
          // What a parser says quotes the text: only what the seal and the system say is for a log.
          unreadable.set(
            id,
            error instanceof SyntaxError || error instanceof z.ZodError ? 'it is damaged' : messageOf(error),
          )
        }
      }
      return { vaults, unreadable }
    },
    write,
    remove: (id) => rmSync(pathOf(id), { force: true }),
  }
}

function contextOf(id: string, revision: number): string {
  return `opensandbox vault ${id} ${revision}`
}

function byName<T extends { name: string }>(entries: T[]): Map<string, T> {
  return new Map(entries.map((entry) => [entry.name, entry]))
}
