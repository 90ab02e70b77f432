// A Docker daemon of the tests' own: its data, its socket and its process lie in a folder of its own, it leaves the machine's network
// alone, and it knows a second OCI runtime. It can be killed and started again: its containerd is a process beside it, as on every
// machine where these are services.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

const START_MS = 30_000
const STOP_MS = 20_000

/** The second runtime that the daemon has. */
export const OTHER_RUNTIME = 'runc-again'

export type TestDocker = {
  /** For `docker.host` and DOCKER_HOST. */
  host: string
  socketPath: string
  pid(): number
  /** Runs `docker` and gives what it printed. */
  docker(...args: string[]): string
  /** Where its data lies. */
  dataRoot: string
  /** Ends the daemon by a signal, and resolves once it has ended. Containers go on after SIGKILL. */
  kill(signal?: NodeJS.Signals): Promise<void>
  start(): Promise<void>
  /** Ends the daemon with all its containers, and removes its folder. */
  dispose(): Promise<void>
}

/** A user that every Debian has, and the first number of those that containers have outside. */
const MAPPED_USER = 'games'
export const MAPPED_ID = 2_000_000
/** The daemon looks for the numbers in two files of the machine, which get another content for it alone. */
const SHOW_OWN_IDS =
  'mount --bind "$0/subuid" /etc/subuid && mount --bind "$0/subgid" /etc/subgid && exec "$@"'
const HIDE_DATA = 'mkdir -p "$0" && mount -t tmpfs hidden "$0" && exec "$@"'

/** Why there can be no daemon on this machine; undefined when there can. */
export function whyNoDocker(): string | undefined {
  if (process.getuid?.() !== 0) return 'a Docker daemon needs root'
  return ['/usr/sbin/dockerd', '/usr/bin/dockerd'].some((path) => existsSync(path))
    ? undefined
    : 'there is no dockerd (Debian package docker.io)'
}

export type DockerOptions = {
  /** Added to its daemon.json. */
  config?: Record<string, unknown>
  /** Has the root of containers be nobody outside. Such a one is not to be killed: its containerd would die with it. */
  mapsUsers?: boolean
  /** More arguments, such as another `--host`. */
  args?: string[]
  /** Has its data lie where this machine does not see it, as that of a daemon elsewhere does. */
  hidesData?: boolean
  /** Has its data lie on a file system of its own that limits directories, so that it limits containers. */
  limitsDisks?: boolean
  /** Has its data lie on a disk of its own that has no more than these bytes. */
  diskBytes?: number
}

/** Starts a daemon and resolves once it answers. */
export async function startDocker({
  config = {},
  mapsUsers = false,
  args: more = [],
  hidesData = false,
  limitsDisks = false,
  diskBytes,
}: DockerOptions = {}): Promise<TestDocker> {
  const folder = mkdtempSync(join(tmpdir(), 'test-docker-'))
  // Nobody walks to his files from here.
  chmodSync(folder, 0o711)
  const socketPath = join(folder, 'docker.sock')
  const log = join(folder, 'log')
  if (limitsDisks) mountDisk(folder, { bytes: 2 * 2 ** 30, make: ['mkfs.btrfs'] })
  if (diskBytes !== undefined) mountDisk(folder, { bytes: diskBytes, make: ['mkfs.ext4', '-m', '0'] })
  writeFileSync(
    join(folder, 'daemon.json'),
    JSON.stringify({
      runtimes: { [OTHER_RUNTIME]: { path: execFileSync('which', ['runc'], { encoding: 'utf8' }).trim() } },
      ...config,
    }),
  )
  const containerd = mapsUsers
    ? undefined
    : run('containerd', ['--config', writeContainerdConfig(folder)], log)
  if (mapsUsers)
    for (const name of ['subuid', 'subgid'])
      writeFileSync(join(folder, name), `${MAPPED_USER}:${MAPPED_ID}:65536\n`)
  let daemon: Running | undefined
  const start = async () => {
    const [program = '', ...args] = [
      ...(hidesData ? ['unshare', '--mount', 'sh', '-c', HIDE_DATA, join(folder, 'data')] : []),
      ...(mapsUsers ? ['unshare', '--mount', 'sh', '-c', SHOW_OWN_IDS, folder] : []),
      'dockerd',
      ...(mapsUsers ? ['--userns-remap', MAPPED_USER] : ['--containerd', join(folder, 'containerd.sock')]),
    ]
    const started = run(
      program,
      [
        ...args,
        ...['--config-file', join(folder, 'daemon.json')],
        ...['--data-root', join(folder, 'data'), '--exec-root', join(folder, 'exec')],
        ...['--pidfile', join(folder, 'pid'), '--host', `unix://${socketPath}`],
        ...['--bridge=none', '--iptables=false', '--ip6tables=false'],
        ...more,
      ],
      log,
    )
    daemon = started
    const deadline = performance.now() + START_MS
    while (!(await answers(socketPath))) {
      if (started.child.exitCode !== null || performance.now() > deadline)
        throw new Error(`The Docker daemon did not start:\n${readFileSync(log, 'utf8').slice(-3000)}`)
      await delay(50)
    }
  }
  const kill = async (signal: NodeJS.Signals = 'SIGKILL') => daemon?.end(signal)
  const docker = (...args: string[]) =>
    execFileSync('docker', ['--host', `unix://${socketPath}`, ...args], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 120_000,
    })
  await start().catch(async (error) => {
    await containerd?.end('SIGTERM')
    unmountBelow(folder)
    rmSync(folder, { recursive: true, force: true })
    throw error
  })
  return {
    host: `unix://${socketPath}`,
    socketPath,
    dataRoot: join(folder, 'data'),
    pid: () => daemon?.child.pid ?? 0,
    docker,
    kill,
    start,
    async dispose() {
      if (!(await answers(socketPath))) await start()
      const all = docker('ps', '--all', '--quiet').split('\n').filter(Boolean)
      if (all.length > 0) docker('rm', '--force', ...all)
      await kill('SIGTERM')
      await containerd?.end('SIGTERM')
      unmountBelow(folder)
      rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
    },
  }
}

function mountDisk(
  folder: string,
  { bytes, make }: { bytes: number; make: [program: string, ...args: string[]] },
): void {
  const [disk, data] = [join(folder, 'disk'), join(folder, 'data')]
  execFileSync('truncate', ['--size', String(bytes), disk])
  const [program, ...args] = make
  execFileSync(program, [...args, '-q', disk])
  mkdirSync(data)
  execFileSync('mount', ['-o', 'loop', disk, data])
}

type Running = { child: ChildProcess; end(signal: NodeJS.Signals): Promise<void> }

function run(program: string, args: string[], log: string): Running {
  const output = openSync(log, 'a')
  const child = spawn(program, args, { stdio: ['ignore', output, output] })
  closeSync(output)
  const ended = new Promise((resolve) => child.once('exit', resolve).once('error', resolve))
  return {
    child,
    async end(signal) {
      child.kill(signal)
      const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS)
      await ended
      clearTimeout(timer)
    },
  }
}

function writeContainerdConfig(folder: string): string {
  const path = join(folder, 'containerd.toml')
  const at = (name: string) => JSON.stringify(join(folder, name))
  writeFileSync(
    path,
    `version = 2\nroot = ${at('containerd')}\nstate = ${at('containerd-state')}\n` +
      `disabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\naddress = ${at('containerd.sock')}\n`,
  )
  return path
}

/** A daemon that was killed leaves the file systems of its containers mounted. */
function unmountBelow(folder: string): void {
  const points = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .flatMap((line) => line.split(' ')[4] ?? [])
    .filter((path) => path.startsWith(`${folder}/`))
  // What lies deeper was mounted later.
  for (const path of points.reverse()) execFileSync('umount', ['--lazy', path])
}

function answers(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const asked = request({ socketPath, path: '/_ping', timeout: 2000 }, (answer) => {
      answer.resume()
      resolve(answer.statusCode === 200)
    })
    asked.on('timeout', () => asked.destroy())
    asked.on('error', () => resolve(false))
    asked.end()
  })
}
