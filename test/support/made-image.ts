// Images that take minutes to make: a Debian, what its recipe does to it, and an OCI layout of that. Each is made once and kept until
// its recipe changes.

import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { ociLayout } from './images.ts'

export type Recipe = {
  /** What its folder begins with, and none of another recipe does. */
  name: string
  debianPackages: readonly string[]
  /** Beside the script, by their names. */
  files: Readonly<Record<string, string>>
  /** A script of what is done to the fresh root file system, whose path is the first argument: `CUSTOMIZE_START` and more. */
  customize: string
  environment: Readonly<Record<string, string>>
}

const FOLDER = '/var/cache/opensandbox-test'
const MAKE_TIMEOUT_MS = 600_000

/** `inside` runs a program in the new root, with the machine's ways to the package index and nothing else of its environment. */
export const CUSTOMIZE_START = `#!/bin/sh
set -eu
root=$1
# The machine's ways to the package index, and nothing else of its environment.
cp "\${PIP_CERT:-/etc/ssl/certs/ca-certificates.crt}" "$root/tmp/ca.pem"
inside() {
  chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp PIP_CERT=/tmp/ca.pem PIP_NO_CACHE_DIR=1 \\
    \${PIP_INDEX_URL:+"PIP_INDEX_URL=$PIP_INDEX_URL"} \${HTTPS_PROXY:+"HTTPS_PROXY=$HTTPS_PROXY"} "$@"
}
`

/** The path of the image as an OCI layout. */
export async function madeImage(recipe: Recipe): Promise<string> {
  const { name, debianPackages, files, customize, environment } = recipe
  const text = [debianPackages.join(), ...Object.values(files), customize, JSON.stringify(environment)].join(
    '\0',
  )
  const key = createHash('sha256').update(text).digest('hex').slice(0, 12)
  const path = join(FOLDER, `${name}-${key}`)
  if (existsSync(path)) return join(path, 'layout')
  const making = `${path}.new`
  rmSync(making, { recursive: true, force: true })
  mkdirSync(making, { recursive: true })
  for (const [file, content] of Object.entries(files)) writeFileSync(join(making, file), content)
  writeFileSync(join(making, 'customize.sh'), customize, { mode: 0o755 })
  const tarball = join(making, 'root.tar')
  const args = [
    '--variant=minbase',
    `--include=${debianPackages.join(',')}`,
    `--customize-hook=${join(making, 'customize.sh')}`,
    'bookworm',
    tarball,
  ]
  await promisify(execFile)('mmdebstrap', args, { timeout: MAKE_TIMEOUT_MS, maxBuffer: 1 << 24 })
  const config = Object.entries(environment).map(([key, value]) => `--config.env=${key}=${value}`)
  ociLayout(making, 'layout', tarball, [...config, '--config.workingdir=/workspace'])
  rmSync(tarball)
  // Those of earlier recipes.
  for (const other of readdirSync(FOLDER))
    if (other.startsWith(`${name}-`) && join(FOLDER, other) !== making)
      rmSync(join(FOLDER, other), { recursive: true })
  renameSync(making, path)
  return join(path, 'layout')
}
