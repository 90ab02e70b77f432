// The images of the tests. A minimal Debian with python3, curl, procps, git, and what terminals and isolated sessions are tried
// with, is made once by mmdebstrap and kept between runs; images without a C library are made of the machine's static busybox, in
// a folder of the test.

import { execFileSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, renameSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const FOLDER = '/var/cache/opensandbox-test'

/** Where the Debian is kept; the number changes with what is included. */
export const DEBIAN_TARBALL = `${FOLDER}/debian-2.tar`

/** The path of the root file system tarball. */
export function debianTarball(): string {
  const path = DEBIAN_TARBALL
  if (existsSync(path)) return path
  mkdirSync(FOLDER, { recursive: true })
  // Other test processes may be making it, too.
  const made = `${path}.${process.pid}.tar`
  const args = [
    '--quiet',
    '--variant=minbase',
    '--include=python3,curl,procps,ca-certificates,bubblewrap,vim-tiny,tmux,git',
    'bookworm',
    made,
  ]
  execFileSync('mmdebstrap', args, { stdio: 'ignore', timeout: 300_000 })
  renameSync(made, path)
  return path
}

const BUSYBOX = '/bin/busybox'

/** A root file system as small distributions have it: one static busybox with its links, `passwd`, and no bash. */
export function busyboxTarball(folder: string): string {
  const root = join(folder, 'busybox')
  for (const dir of ['bin', 'etc', 'tmp', 'root', 'home/user'])
    mkdirSync(join(root, dir), { recursive: true })
  copyFileSync(BUSYBOX, join(root, 'bin/busybox'))
  const applets = execFileSync(BUSYBOX, ['--list'], { encoding: 'utf8' }).split('\n').filter(Boolean)
  for (const name of applets.filter((applet) => applet !== 'busybox'))
    symlinkSync('busybox', join(root, 'bin', name))
  writeFileSync(join(root, 'etc/passwd'), 'root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n')
  writeFileSync(join(root, 'etc/group'), 'root:x:0:\nuser:x:1000:\nextra:x:2000:user\n')
  return pack(root)
}

/** An image of one file: a static program that sleeps. */
export function staticTarball(folder: string): string {
  const root = join(folder, 'static')
  mkdirSync(root, { recursive: true })
  copyFileSync(BUSYBOX, join(root, 'sleep'))
  return pack(root)
}

/** An OCI layout of a root file system tarball, with what `umoci config` takes, such as `--config.user`. */
export function ociLayout(folder: string, name: string, tarball: string, config: string[]): string {
  const layout = join(folder, name)
  const umoci = (...args: string[]) => execFileSync('umoci', args, { stdio: 'pipe', timeout: 120_000 })
  umoci('init', '--layout', layout)
  umoci('new', '--image', `${layout}:test`)
  umoci('raw', 'add-layer', '--image', `${layout}:test`, tarball)
  umoci('config', '--image', `${layout}:test`, ...config)
  return layout
}

function pack(root: string): string {
  execFileSync('tar', ['-C', root, '--owner=0', '--group=0', '-cf', `${root}.tar`, '.'])
  return `${root}.tar`
}
