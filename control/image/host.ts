// The image `host`: this machine's own /usr, mounted read-only, and everything else made fresh. Nothing of the machine's
// /etc, /root, /home or /var is taken over but what is listed here by name, and none of that is a secret.

import { copyFileSync, existsSync, lstatSync, readdirSync, readlinkSync, statSync } from 'node:fs'
import { chmod, chown, cp, lchown, mkdir, readdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DEFAULT_PATH, ID_MAP, type ImageConfig } from './image.ts'

export const HOST_IMAGE_CONFIG: ImageConfig = {
  env: { PATH: DEFAULT_PATH, LANG: 'C.UTF-8' },
  workdir: '/workspace',
  uid: 0,
  gid: 0,
}
export const HOST_DIRS = ['/usr']

/** Changes when what is made here changes. */
const LAYOUT = 1

const DIRECTORIES: [path: string, mode: number][] = [
  ['dev', 0o755],
  ['etc', 0o755],
  ['etc/ssl', 0o755],
  ['etc/ssl/certs', 0o755],
  ['home', 0o755],
  ['home/sandbox', 0o755],
  ['media', 0o755],
  ['mnt', 0o755],
  ['opt', 0o755],
  ['opt/opensandbox', 0o755],
  ['proc', 0o555],
  ['root', 0o700],
  ['run', 0o755],
  ['run/opensandbox', 0o700],
  ['srv', 0o755],
  ['sys', 0o555],
  ['tmp', 0o1777],
  ['usr', 0o755],
  ['var', 0o755],
  ['var/cache', 0o755],
  ['var/lib', 0o755],
  ['var/log', 0o755],
  ['var/tmp', 0o1777],
  ['workspace', 0o755],
] // prettier-ignore

const FILES: Record<string, string> = {
  'etc/passwd':
    'root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\nsandbox:x:1000:1000:sandbox:/home/sandbox:/bin/bash\n',
  'etc/group': 'root:x:0:\ntty:x:5:\nstaff:x:50:\nnogroup:x:65534:\nsandbox:x:1000:\n',
  'etc/nsswitch.conf':
    'passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\nprotocols: files\nservices: files\n',
  'etc/hosts': '127.0.0.1 localhost\n',
  'etc/resolv.conf': '',
  'etc/hostname': '',
  'etc/shells': '/bin/sh\n/bin/bash\n',
  'etc/profile': `export PATH="\${PATH:-${DEFAULT_PATH}}"\n[ "$(id -u)" = 0 ] && PS1='# ' || PS1='$ '\n`,
}

// Public parts of /etc without which programs of /usr do not run as they do on the machine.
const FROM_ETC = [
  'alternatives',
  'ca-certificates.conf',
  'debian_version',
  'ld.so.cache',
  'ld.so.conf',
  'ld.so.conf.d',
  'magic',
  'mime.types',
  'protocols',
  'services',
  'ssl/certs/ca-certificates.crt',
  'ssl/openssl.cnf',
  'fonts',
  'python3',
  'python3.11',
  'terminfo',
] // prettier-ignore

/** Names the state of the machine that the image was made from: a changed certificate or library cache makes it anew. */
export function hostImageKey(): string {
  const parts = FROM_ETC.map((name) => {
    const stat = statSync(join('/etc', name), { throwIfNoEntry: false })
    return `${name}:${stat?.mtimeMs ?? 0}`
  })
  return `host ${LAYOUT} ${parts.join(' ')}`
}

/** Makes the root of the image in an empty directory, owned by the mapped range, or by the users from `rootId` on. */
export async function makeHostRoot(rootfs: string, rootId = ID_MAP.hostId): Promise<void> {
  for (const [path, mode] of DIRECTORIES) {
    await mkdir(join(rootfs, path), { recursive: true })
    await chmod(join(rootfs, path), mode)
  }
  for (const [path, text] of Object.entries(FILES)) await writeFile(join(rootfs, path), text, { mode: 0o644 })
  for (const name of readdirSync('/')) {
    // /bin, /sbin, /lib and its siblings are links into /usr on every machine that has merged them.
    const path = join('/', name)
    if (lstatSync(path).isSymbolicLink() && readlinkSync(path).replace(/^\//, '').startsWith('usr/'))
      await symlink(readlinkSync(path).replace(/^\//, ''), join(rootfs, name))
  }
  for (const name of FROM_ETC) {
    const source = join('/etc', name)
    if (!existsSync(source)) continue
    if (statSync(source).isDirectory())
      await cp(source, join(rootfs, 'etc', name), { recursive: true, verbatimSymlinks: true })
    else copyFileSync(source, join(rootfs, 'etc', name))
  }
  await symlink('/proc/self/mounts', join(rootfs, 'etc/mtab'))
  await symlink('../usr/lib/os-release', join(rootfs, 'etc/os-release'))
  await chownTree(rootfs, rootId)
  await chown(join(rootfs, 'home/sandbox'), rootId + 1000, rootId + 1000)
}

async function chownTree(path: string, id: number): Promise<void> {
  await lchown(path, id, id)
  if (!lstatSync(path).isDirectory()) return
  for (const name of await readdir(path)) await chownTree(join(path, name), id)
}
