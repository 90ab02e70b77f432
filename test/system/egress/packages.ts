// A package of each kind, as its registry serves it: what pip, npm, apt and git fetch from the lab.

import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'

const execute = promisify(execFile)
const TIMEOUT_MS = 30_000

/** What each client is told to do; `ca.pem` of the lab lies in /tmp. Prints `fetched` when it has done it. */
export const PACKAGE_CLIENTS = {
  pip:
    'pip install --quiet --break-system-packages --disable-pip-version-check --no-cache-dir --cert /tmp/ca.pem ' +
    '--index-url https://pip.pkg.example/simple/ lab-package && python3 -c "import lab_package; print(lab_package.WHAT)"',
  npm:
    'rm -rf /tmp/n && mkdir /tmp/n && cd /tmp/n && npm install --silent --no-audit --no-fund --cafile /tmp/ca.pem ' +
    '--registry https://npm.pkg.example/ lab-package && node -p "require(\'lab-package\')"',
  apt:
    'echo "deb [trusted=yes] https://apt.pkg.example/ ./" > /etc/apt/sources.list && rm -rf /etc/apt/sources.list.d/* && ' +
    'apt-get -qq -o Acquire::https::CAInfo=/tmp/ca.pem update && ' +
    'apt-get -qq -y -o Acquire::https::CAInfo=/tmp/ca.pem install lab-package > /dev/null 2>&1; cat /usr/share/lab-package',
  git: 'rm -rf /tmp/g && git -c http.sslCAInfo=/tmp/ca.pem clone --quiet https://git.pkg.example/lab.git /tmp/g && cat /tmp/g/what',
} as const

/** Makes the folders that are served. */
export async function makePackages(folder: string): Promise<void> {
  await Promise.all([makePip(folder), makeNpm(folder), makeApt(folder), makeGit(folder)])
}

async function makePip(folder: string): Promise<void> {
  const at = join(folder, 'pip/simple/lab-package')
  mkdirSync(at, { recursive: true })
  const wheel = 'lab_package-1.0-py3-none-any.whl'
  const program = `import sys, zipfile
info = "lab_package-1.0.dist-info/"
with zipfile.ZipFile(sys.argv[1], "w") as wheel:
    wheel.writestr("lab_package.py", "WHAT = 'fetched'\\n")
    wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: lab-package\\nVersion: 1.0\\n")
    wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nGenerator: lab\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
    wheel.writestr(info + "RECORD", "")
`
  await execute('python3', ['-c', program, join(at, wheel)], { timeout: TIMEOUT_MS })
  writeFileSync(join(at, 'index.html'), `<!DOCTYPE html><a href="${wheel}">${wheel}</a>\n`)
}

async function makeNpm(folder: string): Promise<void> {
  const source = join(folder, 'npm-source/package')
  const at = join(folder, 'npm/lab-package')
  for (const each of [source, at]) mkdirSync(each, { recursive: true })
  const described = { name: 'lab-package', version: '1.0.0', main: 'index.js' }
  writeFileSync(join(source, 'package.json'), JSON.stringify(described))
  writeFileSync(join(source, 'index.js'), "module.exports = 'fetched'\n")
  const tarball = join(at, 'lab-package-1.0.0.tgz')
  await execute('tar', ['-C', join(source, '..'), '-czf', tarball, 'package'], { timeout: TIMEOUT_MS })
  const integrity = `sha512-${createHash('sha512').update(readFileSync(tarball)).digest('base64')}`
  const dist = { tarball: 'https://npm.pkg.example/lab-package/lab-package-1.0.0.tgz', integrity }
  const document = {
    name: 'lab-package',
    'dist-tags': { latest: '1.0.0' },
    versions: { '1.0.0': { ...described, dist } },
  }
  writeFileSync(join(at, 'index.json'), JSON.stringify(document))
}

async function makeApt(folder: string): Promise<void> {
  const source = join(folder, 'apt-source')
  const at = join(folder, 'apt')
  for (const each of [join(source, 'DEBIAN'), join(source, 'usr/share'), at])
    mkdirSync(each, { recursive: true })
  const control =
    'Package: lab-package\nVersion: 1.0\nArchitecture: all\nMaintainer: lab <lab@example.com>\nDescription: lab\n'
  writeFileSync(join(source, 'DEBIAN/control'), control)
  writeFileSync(join(source, 'usr/share/lab-package'), 'fetched\n')
  const deb = join(at, 'lab-package.deb')
  await execute('dpkg-deb', ['--root-owner-group', '--build', source, deb], { timeout: TIMEOUT_MS })
  const bytes = readFileSync(deb)
  const sum = createHash('sha256').update(bytes).digest('hex')
  writeFileSync(
    join(at, 'Packages'),
    `${control}Filename: ./lab-package.deb\nSize: ${bytes.length}\nSHA256: ${sum}\n\n`,
  )
}

async function makeGit(folder: string): Promise<void> {
  const at = join(folder, 'git-source')
  mkdirSync(join(folder, 'git'), { recursive: true })
  const git = (...args: string[]) =>
    execute('git', ['-c', 'user.name=lab', '-c', 'user.email=lab@example.com', ...args], {
      timeout: TIMEOUT_MS,
    })
  await git('init', '--quiet', at)
  writeFileSync(join(at, 'what'), 'fetched\n')
  await git('-C', at, 'add', '.')
  await git('-C', at, 'commit', '--quiet', '--message', 'what')
  const bare = join(folder, 'git/lab.git')
  await git('clone', '--quiet', '--bare', at, bare)
  await git('-C', bare, 'update-server-info')
}
