// What egress must remember of each sandbox: one file each. A file is written beside and renamed, so a reader sees the old or the
// new one. It is not flushed to the disk: rules and sandboxes are gone after a power failure, and so the files may be.

import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { checkNetworkPolicy, type NetworkPolicy } from '../lib/api/network-policy.ts'
import { messageOf } from '../lib/errors.ts'
import type { Logger } from '../lib/log.ts'

export type StoredSandbox = {
  id: string
  address: string
  interface: string
  token: string
  credentialProxy?: boolean
  tenant?: string
  /** Absent for a sandbox to which the operator's default applies. */
  policy?: NetworkPolicy
}

export type SandboxFiles = {
  load(): StoredSandbox[]
  /** Writes the new file beside the old; `commit` puts it in its place, `discard` drops it. */
  prepare(sandbox: StoredSandbox): { commit(): void; discard(): void }
  remove(id: string): void
}

const storedSchema = z.object({
  address: z.ipv4(),
  interface: z.string().min(1).max(15),
  token: z.string().min(1),
  credentialProxy: z.boolean().optional(),
  tenant: z.string().optional(),
  policy: z.unknown().optional(),
})

/** The files in a directory, which is made if missing, readable by its owner alone. */
export function openSandboxFiles(directory: string, log: Logger): SandboxFiles {
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const pathOf = (id: string) => join(directory, `${id}.json`)
  let count = 0
  return {
    load() {
      const found: StoredSandbox[] = []
      for (const name of readdirSync(directory)) {
        const path = join(directory, name)
        const id = /^([a-z0-9-]{1,63})\.json$/.exec(name)?.[1]
        if (id === undefined) {
          // Left by a write that was interrupted.
          rmSync(path, { force: true, recursive: true })
          continue
        }
        try {
          found.push({ id, ...readStored(readFileSync(path, 'utf8')) })
        } catch (error) {
          log.error('cannot read a registration: the sandbox stays closed until it is registered again', {
            sandbox: id,
            error: messageOf(error),
          })
        }
      }
      return found
    },
    prepare({ id, ...stored }) {
      const temporary = join(directory, `.${id}.${count++}`)
      writeFileSync(temporary, `${JSON.stringify(stored)}\n`, { mode: 0o600 })
      return {
        commit: () => renameSync(temporary, pathOf(id)),
        discard: () => rmSync(temporary, { force: true }),
      }
    },
    remove: (id) => rmSync(pathOf(id), { force: true }),
  }
}

function readStored(text: string): Omit<StoredSandbox, 'id'> {
  const { policy, tenant, credentialProxy, ...required } = storedSchema.parse(JSON.parse(text))
  const stored = {
    ...required,
    ...(tenant !== undefined && { tenant }),
    ...(credentialProxy && { credentialProxy }),
  }
  if (policy === undefined) return stored
  const checked = checkNetworkPolicy(policy)
  if (!('policy' in checked)) throw new Error(`${checked.field} ${checked.message}`)
  return { ...stored, policy: checked.policy }
}
