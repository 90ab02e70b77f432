// The image that egress is attacked from: a Debian with scapy, dig, openssl, nftables and iproute2, and with pip, npm, apt and git, which are
// to work from a sandbox by name rules alone. Made once, within two minutes, and kept until its recipe changes.

import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'

const FOLDER = '/var/cache/opensandbox-test'
const MAKE_TIMEOUT_MS = 600_000

const PACKAGES = [
  ...['python3', 'python3-scapy', 'python3-h2', 'python3-pip', 'nodejs', 'bind9-dnsutils', 'curl', 'openssl'],
  ...['iproute2', 'nftables', 'git', 'ca-certificates', 'procps'],
]

const CUSTOMIZE = `#!/bin/sh
set -eu
npm install --global --prefix "$1/usr/local" --no-audit --no-fund --loglevel=error npm@10.9.4
rm -rf "$1"/usr/share/doc "$1"/usr/share/man "$1"/usr/share/locale
rm -rf "$1"/usr/local/lib/node_modules/npm/docs "$1"/usr/local/lib/node_modules/npm/man
rm -rf "$1"/var/cache/apt/*.bin "$1"/var/cache/apt/archives/*.deb "$1"/var/lib/apt/lists/*
`

/** The path of the root file system tarball. */
export async function attackTarball(): Promise<string> {
  const key = createHash('sha256').update(`${PACKAGES}\0${CUSTOMIZE}`).digest('hex').slice(0, 12)
  const path = join(FOLDER, `attack-${key}.tar`)
  if (existsSync(path)) return path
  mkdirSync(FOLDER, { recursive: true })
  const making = mkdtempSync(join(FOLDER, 'making-attack-'))
  try {
    writeFileSync(join(making, 'customize.sh'), CUSTOMIZE, { mode: 0o755 })
    const args = [
      ...['--quiet', '--variant=minbase', `--include=${PACKAGES.join(',')}`],
      ...[`--customize-hook=${join(making, 'customize.sh')}`, 'bookworm', join(making, 'root.tar')],
    ]
    await promisify(execFile)('mmdebstrap', args, { timeout: MAKE_TIMEOUT_MS, maxBuffer: 1 << 24 })
    // Those of earlier recipes.
    for (const name of readdirSync(FOLDER)) if (/^attack-\w+\.tar$/.test(name)) rmSync(join(FOLDER, name))
    renameSync(join(making, 'root.tar'), path)
  } finally {
    rmSync(making, { recursive: true, force: true })
  }
  return path
}
