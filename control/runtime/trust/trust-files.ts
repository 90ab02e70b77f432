// The files by which a sandbox trusts what reads its requests: the authority, the image's own authorities with it, and the same for
// Java. They lie outside of the sandbox, which can only read them, and each takes the place of what the image had.

import { chmod, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { rootCertificates } from 'node:tls'
import { makeKeystore } from './keystore.ts'
import { CA_FILE, KEYSTORE_FILE, KEYSTORE_PASSWORD, MERGED_FILE, TRUST_DIR } from './trust-env.ts'

/** A file of authorities in an image, by its own path: no link leads on from there. */
export type Bundle = { path: string; text: string }

export type TrustMount = { source: string; target: string }

/** Where programs look that are told nothing: those that Go knows, which has most systems' (crypto/x509, root_linux.go). */
export const BUNDLE_PATHS = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/pki/tls/cacert.pem',
  '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem',
  '/etc/ssl/cert.pem',
]
/** Many times as much as all authorities that there are. */
export const MAX_BUNDLE_BYTES = 8 * 1024 * 1024

const CERTIFICATE = /-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----/g

/** Makes them in a folder that is not there yet, and tells what to mount, read-only, after everything else. */
export async function writeTrustFiles({
  folder,
  authority,
  bundles,
  now,
}: {
  folder: string
  /** Its certificate, as PEM. */
  authority: string
  bundles: readonly Bundle[]
  now: number
}): Promise<TrustMount[]> {
  const withAuthority = (text: string) => `${text.trimEnd()}\n${authority.trimEnd()}\n`
  const merged = withAuthority(bundles[0]?.text ?? rootCertificates.join('\n'))
  const certificates = [...merged.matchAll(CERTIFICATE)].map(([, text = '']) => Buffer.from(text, 'base64'))
  const files: [name: string, content: string | Buffer][] = [
    [CA_FILE, authority],
    [MERGED_FILE, merged],
    [KEYSTORE_FILE, makeKeystore(certificates, { password: KEYSTORE_PASSWORD, now })],
    ...bundles.map(({ text }, index): [string, string] => [bundleName(index), withAuthority(text)]),
  ]
  await mkdir(folder)
  // Whatever the mask of this program: the sandbox's users are others.
  await chmod(folder, 0o755)
  for (const [name, content] of files) {
    await writeFile(join(folder, name), content, { flag: 'wx' })
    await chmod(join(folder, name), 0o644)
  }
  return [
    { source: folder, target: TRUST_DIR },
    ...bundles.map(({ path }, index) => ({ source: join(folder, bundleName(index)), target: path })),
  ]
}

function bundleName(index: number): string {
  return `image-${index}.pem`
}
