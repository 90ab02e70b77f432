// The image of the tests: a minimal Debian with python3, curl and procps, made once by mmdebstrap and kept between runs.

import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, renameSync } from 'node:fs'

const FOLDER = '/var/cache/opensandbox-test'

/** The path of the root file system tarball. */
export function debianTarball(): string {
  const path = `${FOLDER}/debian.tar`
  if (existsSync(path)) return path
  mkdirSync(FOLDER, { recursive: true })
  const args = [
    '--quiet',
    '--variant=minbase',
    '--include=python3,curl,procps,ca-certificates',
    'bookworm',
    `${path}.new.tar`,
  ]
  execFileSync('mmdebstrap', args, { stdio: 'ignore', timeout: 300_000 })
  renameSync(`${path}.new.tar`, path)
  return path
}
