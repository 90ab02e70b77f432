// What the programs and the tests need from the machine, and how to get it. Runs on Node >= 20 without any package.

import { spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..')

// Each line: a program on the PATH, an absolute file or a Python module, the Debian package that brings it, and what it is for.
const FOR_START = [
  ['skopeo', 'skopeo', 'asks registries for images'],
  ['nft', 'nftables', 'holds sandboxes to their network policy'],
  ['ip', 'iproute2', 'connects sandboxes to the network'],
  ['nsenter', 'util-linux', 'sets up the network inside a sandbox'],
  ['/usr/bin/tini-static', 'tini', 'is the first process of every sandbox'],
  ['/etc/ssl/certs/ca-certificates.crt', 'ca-certificates', 'lets sandboxes check TLS certificates'],
]
const FOR_LOCAL = [
  ['runc', 'runc', 'runs the sandboxes'],
  ['umoci', 'umoci', 'unpacks images'],
  ['mkfs.ext4', 'e2fsprogs', 'makes the disks of sandboxes that have a limit'],
  [
    '/usr/share/containers/seccomp.json',
    'golang-github-containers-common',
    'says which system calls a sandbox may make',
  ],
]
const FOR_DOCKER = [['dockerd', 'docker.io', 'is the daemon that runs the sandboxes']]
const FOR_SSH = [['ssh', 'openssh-client', 'is the way to the Docker daemon that is named by ssh://']]
const FOR_TEST = [
  ...FOR_START,
  ...FOR_LOCAL,
  ['mmdebstrap', 'mmdebstrap', 'makes the test image'],
  ['docker-registry', 'docker-registry', 'is the registry that the tests pull from'],
  ['chromium', 'chromium', 'opens the pages of the example'],
  ['nginx', 'nginx-light', 'is the peer that the gateway is measured against'],
  ['haproxy', 'haproxy', 'is the peer that egress is measured against'],
  ['dnsmasq', 'dnsmasq-base', 'is the name server of the tests'],
  ['redis-server', 'redis-server', 'has the queue by which traffic is told'],
  ['wrk', 'wrk', 'makes the load of the benchmarks'],
  ['/bin/busybox', 'busybox-static', 'is the whole of the smallest test images'],
  ['curl', 'curl', 'is a client of the tests'],
  ['openssl', 'openssl', 'makes the certificates of the tests'],
  ['promtool', 'prometheus', 'checks what the programs tell Prometheus'],
  ['bwrap', 'bubblewrap', 'isolates sessions within a sandbox'],
  ['python3', 'python3', 'runs the published Python SDK'],
  ['vim', 'vim', 'is a full-screen program on a terminal'],
  ['tmux', 'tmux', 'is one that has terminals of its own'],
  ['top', 'procps', 'is one that paints again and again'],
  ['python:ensurepip', 'python3-venv', 'makes an environment for the published Python SDK'],
  ['javac', 'default-jdk-headless', 'compiles the program that uses the published Kotlin SDK'],
  ['mvn', 'maven', 'gets the published Kotlin SDK'],
  ['dockerd', 'docker.io', 'is the Docker engine of one of the runtimes'],
  ['mkfs.btrfs', 'btrfs-progs', 'makes a disk on which that engine limits containers'],
  ['/usr/sbin/sshd', 'openssh-server', 'is the way to a Docker engine by SSH'],
]

/** What a program started with this runtime needs. A daemon that somebody names is there already, and needs a way to it. */
function forStart(runtime, dockerHost) {
  if (runtime !== 'docker') return [...FOR_START, ...FOR_LOCAL]
  if (dockerHost !== undefined) return [...FOR_START, ...(dockerHost.startsWith('ssh://') ? FOR_SSH : [])]
  return existsSync('/var/run/docker.sock') ? FOR_START : [...FOR_START, ...FOR_DOCKER]
}

/**
 * Makes sure that npm packages and system packages are there, installing what is missing when `install` is true. Says what
 * it does and why. Returns false, after having said what is wrong, when the machine cannot run the programs.
 */
export async function ensureMachine({ install, purpose, runtime = 'local', dockerHost }) {
  if (process.platform !== 'linux') return fail(`Sandboxes need Linux, but this is ${process.platform}.`)
  if (process.getuid?.() !== 0) {
    return fail(
      'Root is needed to make namespaces, mounts and firewall rules: run this again as root, for example with sudo.',
    )
  }
  removeOurPolicy()
  const needsPackages = !npmPackagesAreCurrent()
  const missing = (purpose === 'test' ? FOR_TEST : forStart(runtime, dockerHost)).filter(
    ([what]) => !isThere(what),
  )
  if (!install) {
    if (needsPackages)
      console.error('Missing: the npm packages of package-lock.json. Install them with: npm ci')
    for (const [what, name, why] of missing)
      console.error(`Missing: ${what} (Debian package ${name}), which ${why}`)
    if (missing.length > 0) console.error(`Install them with: apt-get install -y ${names(missing).join(' ')}`)
    return !needsPackages && missing.length === 0
  }
  if (needsPackages && !installNpmPackages()) return false
  return missing.length === 0 || installSystemPackages(missing)
}

function installNpmPackages() {
  console.log('Installing npm packages, as node_modules is not what package-lock.json says (npm ci)')
  const done = spawnSync('npm', ['ci', '--no-audit', '--no-fund'], {
    cwd: ROOT,
    encoding: 'utf8',
    timeout: 900_000,
  })
  if (done.status === 0 && npmPackagesAreCurrent()) return true
  return fail(`npm ci failed:\n${done.error ?? ''}${tail(done.stdout)}${tail(done.stderr)}`)
}

function installSystemPackages(missing) {
  if (!isThere('apt-get')) {
    return fail(
      `This machine has no apt-get. Install these by hand: ${missing.map(([what, , why]) => `${what} (${why})`).join(', ')}`,
    )
  }
  for (const [what, name, why] of missing) console.log(`Installing ${name}, as ${what} is missing: it ${why}`)
  const apt = (...args) =>
    spawnSync('apt-get', ['-qq', '-o', 'DPkg::Lock::Timeout=300', '-o', 'Acquire::Retries=3', ...args], {
      encoding: 'utf8',
      timeout: 900_000,
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    })
  // Packages that are daemons must not be started by their installation: each program here starts what it needs.
  const installed = () =>
    withoutServices(() => apt('install', '-y', '--no-install-recommends', ...names(missing)))
  let done = installed()
  if (done.status !== 0) {
    const updated = apt('update')
    if (updated.status !== 0)
      return fail(`apt-get update failed:\n${tail(updated.stdout)}${tail(updated.stderr)}`)
    done = installed()
  }
  const still = missing.filter(([what]) => !isThere(what))
  if (done.status === 0 && still.length === 0) return true
  return fail(
    `apt-get could not install ${names(still.length > 0 ? still : missing).join(', ')}:\n${done.error ?? ''}${tail(done.stdout)}${tail(done.stderr)}`,
  )
}

const STOP_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP']
const POLICY = '/usr/sbin/policy-rc.d'
const OUR_POLICY =
  '#!/bin/sh\n# OpenSandbox Edge is installing packages whose services must not start.\nexit 101\n'

// Debian's own way to say "no": policy-rc.d answers 101 while the packages are set up. One of somebody else stays. Ours goes
// again whatever happens, as it would keep every later package of this machine from starting its service.
function withoutServices(work) {
  removeOurPolicy()
  if (existsSync(POLICY)) return work()
  // Handlers keep a signal from ending us while apt runs, which gets it too and ends.
  let stoppedBy
  const stop = (signal) => {
    stoppedBy = signal
  }
  for (const signal of STOP_SIGNALS) process.on(signal, stop)
  try {
    writeFileSync(POLICY, OUR_POLICY, { mode: 0o755 })
    return work()
  } finally {
    removeOurPolicy()
    for (const signal of STOP_SIGNALS) process.off(signal, stop)
    if (stoppedBy) process.kill(process.pid, stoppedBy)
  }
}

function removeOurPolicy() {
  if (existsSync(POLICY) && readFileSync(POLICY, 'utf8') === OUR_POLICY) rmSync(POLICY)
}

// npm writes what it installed to node_modules/.package-lock.json; packages for other platforms are not in it.
function npmPackagesAreCurrent() {
  try {
    const wanted = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')).packages
    const found = JSON.parse(readFileSync(join(ROOT, 'node_modules/.package-lock.json'), 'utf8')).packages
    accessSync(join(ROOT, 'node_modules/node/bin/node'), constants.X_OK)
    return Object.entries(wanted).every(
      ([path, entry]) =>
        path === '' || entry.optional || entry.devOptional || found[path]?.version === entry.version,
    )
  } catch {
    return false // not installed, or only half
  }
}

function isThere(what) {
  if (what.startsWith('python:')) {
    return spawnSync('python3', ['-c', `import ${what.slice(7)}`], { timeout: 30_000 }).status === 0
  }
  const places = what.startsWith('/') ? [what] : [...searchPath()].map((folder) => join(folder, what))
  return places.some((place) => existsSync(place))
}

// sbin is where runc and nft are, and not on everyone's PATH.
function searchPath() {
  return new Set([
    ...(process.env.PATH ?? '').split(delimiter),
    '/usr/local/sbin',
    '/usr/sbin',
    '/sbin',
    '/usr/bin',
    '/bin',
  ])
}

function names(missing) {
  return [...new Set(missing.map(([, name]) => name))]
}

function tail(text) {
  return (text ?? '').trimEnd().split('\n').slice(-15).join('\n').concat('\n')
}

function fail(message) {
  console.error(message.trimEnd())
  return false
}
