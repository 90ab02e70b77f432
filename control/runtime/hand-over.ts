// Giving execd its boot file. The directory is the sandbox's, and an image may have had code of its own run by then: its
// /etc/ld.so.preload counts for every program that its loader starts. So nothing that lies there is opened or followed.

import { open, rename } from 'node:fs/promises'
import { join } from 'node:path'
import type { BootFile } from '../../lib/api/guest.ts'
import { createToken } from '../../lib/id.ts'

/** Puts the boot file where execd waits for it, whole and readable for the sandbox's root alone, whom this machine knows as `owner`. */
export async function handOver(
  exchange: string,
  boot: BootFile,
  owner: { uid: number; gid: number },
): Promise<void> {
  const path = join(exchange, 'boot.json')
  // Made anew under a name that nobody can guess: never through a link to a file of the host, nor into a pipe.
  const made = `${path}.${createToken()}.new`
  const file = await open(made, 'wx', 0o400)
  try {
    await file.writeFile(JSON.stringify(boot))
    await file.chown(owner.uid, owner.gid)
  } finally {
    await file.close()
  }
  await rename(made, path)
}
