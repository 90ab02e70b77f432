// Which containers are ours. Everybody who reaches the daemon may make a container with any name and any label, and an image may carry
// labels, too. So neither is believed by itself: a label holds the proof that this installation has made this sandbox, by a secret that
// only it has, and another sandbox's proof proves nothing.

import { createHmac, timingSafeEqual } from 'node:crypto'
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { systemCodeOf } from '../../../lib/errors.ts'
import { createToken } from '../../../lib/id.ts'

export const INSTANCE_LABEL = 'opensandbox.io/instance'
const ID_LABEL = 'opensandbox.io/id'
const PROOF_LABEL = 'opensandbox.io/proof'
const SNAPSHOT_LABEL = 'opensandbox.io/snapshot'
const SNAPSHOT_PROOF_LABEL = 'opensandbox.io/snapshot-proof'

export type Ownership = {
  /** What containers of this installation are listed by. */
  filter: string
  nameOf(id: string): string
  /** Labels that an image cannot change, as they are set at the container. */
  labelsOf(id: string): Record<string, string>
  /** The id of the sandbox whose container this is; undefined when it is not ours. */
  idOf(container: { name: string; labels: Record<string, string> }): string | undefined
  /** What the images of snapshots are listed by that bear no name. */
  snapshotFilter: string
  snapshotLabelsOf(snapshotId: string): Record<string, string>
  /** The snapshot whose image this is; undefined when it is not ours. */
  snapshotOf(labels: Record<string, string>): string | undefined
}

/** `key` names the installation; `secret` proves that it was this one. */
export function createOwnership(key: string, secret: string): Ownership {
  const prefix = `opensandbox-${key}-`
  const proofOf = (id: string) => createHmac('sha256', secret).update(id).digest('hex').slice(0, 32)
  const proves = (proof: string | undefined, id: string) => {
    const [given, wanted] = [Buffer.from(proof ?? ''), Buffer.from(proofOf(id))]
    return given.length === wanted.length && timingSafeEqual(given, wanted)
  }
  // No sandbox has such an id.
  const ofSnapshot = (id: string) => `snapshot ${id}`
  return {
    filter: `${INSTANCE_LABEL}=${key}`,
    nameOf: (id) => `${prefix}${id}`,
    labelsOf: (id) => ({ [INSTANCE_LABEL]: key, [ID_LABEL]: id, [PROOF_LABEL]: proofOf(id) }),
    idOf({ name, labels }) {
      const plain = name.replace(/^\//, '')
      if (!plain.startsWith(prefix)) return undefined
      const id = plain.slice(prefix.length)
      return proves(labels[PROOF_LABEL], id) ? id : undefined
    },
    snapshotFilter: SNAPSHOT_LABEL,
    snapshotLabelsOf: (id) => ({
      [SNAPSHOT_LABEL]: id,
      [SNAPSHOT_PROOF_LABEL]: proofOf(ofSnapshot(id)),
    }),
    snapshotOf(labels) {
      const id = labels[SNAPSHOT_LABEL]
      return id !== undefined && proves(labels[SNAPSHOT_PROOF_LABEL], ofSnapshot(id)) ? id : undefined
    },
  }
}

/** The secret of an installation, made at its first start. */
export function loadSecret(dataDir: string): string {
  const path = join(dataDir, 'docker-secret')
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (systemCodeOf(error) !== 'ENOENT') throw error
  }
  const secret = createToken()
  writeFileSync(`${path}.new`, secret, { mode: 0o600 })
  renameSync(`${path}.new`, path)
  return secret
}
