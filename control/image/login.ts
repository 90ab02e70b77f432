// A login as skopeo takes it: a file that only root reads, as an argument could be read by every user of the machine. It lies there for
// as long as the program runs.

import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { ImageAuth } from '../runtime/images.ts'

/** What Docker writes for its own registry. */
const DOCKER_HUB = 'https://index.docker.io/v1/'

/** Does `work` with the file's path. */
export async function withLogin<T>(
  { folder, registry, auth }: { folder: string; registry: string; auth: ImageAuth },
  work: (path: string) => Promise<T>,
): Promise<T> {
  const path = join(folder, 'auth.json')
  await writeFile(path, loginFile(registry, auth), { mode: 0o600 })
  try {
    return await work(path)
  } finally {
    await rm(path, { force: true })
  }
}

/** The text of such a file, which opens one registry and no other. */
export function loginFile(registry: string, { username, password }: ImageAuth): string {
  const auth = Buffer.from(`${username}:${password}`).toString('base64')
  return JSON.stringify({
    auths: { [registry]: { auth }, ...(registry === 'docker.io' && { [DOCKER_HUB]: { auth } }) },
  })
}
