// Files through execd: one of 1 GiB up and down beside nginx with the same client, and 200,000 of them found by name and by content
// beside find and grep. Can be run alone: `node test/bench/files.ts`.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { prepareGuestDir } from '../../control/runtime/guest-dir.ts'
import type { BootFile } from '../../lib/api/guest.ts'
import { createSilentLogger } from '../../lib/log.ts'
import { type Daemon, startDaemon } from '../execd/daemon.ts'
import { freePort } from '../support/edge.ts'
import { type BenchRow, printTable } from './table.ts'

const BULK_BYTES = 2 ** 30
const BULK_ROUNDS = 3
const FILES = 200_000
const TREE_ROUNDS = 5
const IDENTITY_ROUNDS = 15

export const title = `Files of execd: 1 GiB, and a tree of ${FILES} files`

export async function run(): Promise<BenchRow[]> {
  const execd = await startDaemon()
  try {
    return [...(await measureBulk(execd)), ...measureTree(execd), ...(await measureIdentity())]
  } finally {
    await execd[Symbol.asyncDispose]()
  }
}

/** In memory on both sides, so that neither a disk nor its cache is what is measured. */
async function measureBulk(execd: Daemon): Promise<BenchRow[]> {
  const folder = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'bench-files-'))
  const source = join(folder, 'source')
  execFileSync('sh', ['-c', `head -c ${BULK_BYTES} /dev/urandom > ${source}`])
  const nginx = await startNginx(folder)
  try {
    const target = join(folder, 'target')
    writeFileSync(join(folder, 'metadata'), JSON.stringify({ path: target }))
    const form = ['-F', `metadata=@${folder}/metadata;filename=metadata`, '-F', `file=@${source}`]
    const rates = (name: string, ours: () => void, theirs: () => void, clean: () => void): BenchRow => {
      const measured = { ours: [] as number[], theirs: [] as number[] }
      // In turns, so that whatever else the machine does meets both.
      for (let round = 0; round < BULK_ROUNDS; round++) {
        measured.ours.push(gigabytesPerSecond(ours))
        clean()
        measured.theirs.push(gigabytesPerSecond(theirs))
        clean()
      }
      return {
        name,
        unit: 'GB/s',
        ours: Math.max(...measured.ours),
        peer: { name: nginx ? 'nginx' : 'cp', value: Math.max(...measured.theirs) },
        budget: { min: 1 },
      }
    }
    const clean = () => rmSync(target, { force: true })
    const copy = () => execFileSync('cp', [source, target])
    return [
      rates(
        'upload of 1 GiB by curl, best of 3',
        () => curl([...form, `${execd.url}/files/upload`]),
        nginx ? () => execFileSync('curl', ['-sf', '-T', source, `${nginx.url}/target`]) : copy,
        clean,
      ),
      rates(
        'upload without a length',
        () => curl(['-H', 'Transfer-Encoding: chunked', ...form, `${execd.url}/files/upload`]),
        nginx
          ? () =>
              execFileSync('curl', [
                '-sf',
                '-H',
                'Transfer-Encoding: chunked',
                '-T',
                source,
                `${nginx.url}/target`,
              ])
          : copy,
        clean,
      ),
      rates(
        'download of 1 GiB by curl, best of 3',
        () => curl(['-o', '/dev/null', `${execd.url}/files/download?path=${source}`]),
        nginx ? () => execFileSync('curl', ['-sf', '-o', '/dev/null', `${nginx.url}/source`]) : copy,
        clean,
      ),
    ]
  } finally {
    nginx?.process.kill('SIGTERM')
    rmSync(folder, { recursive: true, force: true })
  }
}

function measureTree(execd: Daemon): BenchRow[] {
  const tree = mkdtempSync(join(tmpdir(), 'bench-tree-'))
  try {
    makeTree(tree)
    const search = (query: string) => () =>
      curl(['-o', '/dev/null', `${execd.url}/files/search?path=${tree}&${query}`])
    const row = (
      name: string,
      ours: () => void,
      peer: string,
      theirs: () => void,
      max?: number,
    ): BenchRow => {
      const times = { ours: [] as number[], theirs: [] as number[] }
      // The first round fills the caches of the system.
      for (let round = 0; round <= TREE_ROUNDS; round++) {
        const [a, b] = [milliseconds(ours), milliseconds(theirs)]
        if (round === 0) continue
        times.ours.push(a)
        times.theirs.push(b)
      }
      const value = median(times.theirs)
      return {
        name,
        unit: 'ms',
        ours: median(times.ours),
        peer: { name: peer, value },
        ...(max === undefined ? {} : { budget: { max: Math.round(value * max) } }),
      }
    }
    const quiet = (program: string, args: string[]) => () => {
      // grep says 1 when it has found nothing.
      execFileSync('sh', ['-c', `${[program, ...args].join(' ')} > /dev/null || true`])
    }
    return [
      row(
        'search by name, 1,000 found',
        search('pattern=*-77.ts'),
        'find',
        quiet('find', [tree, '-name', "'*-77.ts'"]),
        1.5,
      ),
      row('search for all files, described', search('pattern=**'), 'find -ls', quiet('find', [tree, '-ls'])),
      row(
        'search by content, 1 found',
        search('content=of+file+4711:'),
        'grep -r',
        quiet('grep', ['-rn', "'of file 4711:'", tree]),
        1.5,
      ),
      row(
        'the tree as a tar',
        () => curl(['-o', '/dev/null', `${execd.url}/directories/archive?path=${tree}&format=tar`]),
        'tar',
        quiet('tar', ['-cf', '-', tree, '2>/dev/null', '|', 'cat']),
      ),
    ]
  } finally {
    rmSync(tree, { recursive: true, force: true })
  }
}

/** What a request under another identity costs: the start of a process, as sandboxes have it, bundled. */
async function measureIdentity(): Promise<BenchRow[]> {
  if (process.getuid?.() !== 0) return []
  const folder = mkdtempSync(join(tmpdir(), 'bench-identity-'))
  // Other users reach the bundle by this path.
  chmodSync(folder, 0o755)
  const guest = await prepareGuestDir({
    dataDir: folder,
    log: createSilentLogger(),
    signal: AbortSignal.timeout(120_000),
  })
  const execd = await startBundled(folder, guest.path)
  try {
    const time = async (prefix: string) => {
      const times: number[] = []
      for (let round = 0; round <= IDENTITY_ROUNDS; round++) {
        const startedAt = performance.now()
        const response = await fetch(`${execd.url}${prefix}/files/info?path=/`, { headers: execd.headers })
        await response.text()
        if (!response.ok) throw new Error(`${prefix}: ${response.status}`)
        if (round > 0) times.push(performance.now() - startedAt)
      }
      return median(times)
    }
    const node = Array.from({ length: IDENTITY_ROUNDS }, () =>
      milliseconds(() => execFileSync(process.execPath, ['-e', '0'])),
    )
    return [
      {
        name: 'info of a file as another user, p50',
        unit: 'ms',
        ours: await time('/v1/filesystem/65534/65534'),
        peer: { name: 'node -e 0', value: median(node) },
      },
      { name: 'info of a file, p50', unit: 'ms', ours: await time('') },
    ]
  } finally {
    execd.process.kill('SIGTERM')
    await new Promise((resolve) => execd.process.once('exit', resolve))
    rmSync(folder, { recursive: true, force: true })
  }
}

type Bundled = { url: string; headers: Record<string, string>; process: ChildProcess }

async function startBundled(folder: string, guestDir: string): Promise<Bundled> {
  const exchange = join(folder, 'exchange')
  mkdirSync(exchange)
  const port = await freePort()
  const boot: BootFile = {
    token: 'secret-token',
    host: '127.0.0.1',
    port,
    entrypoint: ['sleep', '600'],
    env: { PATH: '/usr/bin:/bin' },
    workdir: join(folder, 'work'),
    stopGraceMs: 1000,
  }
  writeFileSync(join(exchange, 'boot.json'), JSON.stringify(boot))
  const flags = ['--max-semi-space-size=1', '--v8-pool-size=1']
  const child = spawn(process.execPath, [...flags, join(guestDir, 'main.js'), '--exchange-dir', exchange], {
    stdio: 'ignore',
  })
  const deadline = performance.now() + 10_000
  while (!(await answers(port)))
    if (performance.now() > deadline) throw new Error('The bundled execd does not answer')
  return {
    url: `http://127.0.0.1:${port}`,
    headers: { 'X-EXECD-ACCESS-TOKEN': boot.token },
    process: child,
  }
}

/** 200,000 files of 2 kB in 2,000 directories, as a program makes them in which many packages are installed. */
function makeTree(root: string): void {
  for (let at = 0; at < FILES / 200; at++) {
    const directory = join(root, `package-${at % 20}`, `module-${at}`)
    mkdirSync(join(directory, 'lib'), { recursive: true })
    for (let file = 0; file < 100; file++) {
      const number = at * 200 + file * 2
      writeFileSync(join(directory, `source-file-${file}.ts`), content(number))
      writeFileSync(join(directory, 'lib', `asset-${file}.json`), content(number + 1))
    }
  }
}

function content(number: number): string {
  const lines = Array.from(
    { length: 40 },
    (_, line) => `line ${line} of file ${number}: const value = compute(${number * line})`,
  )
  return `${lines.join('\n')}\n`
}

function curl(args: string[]): void {
  execFileSync('curl', ['-sf', '-H', 'X-EXECD-ACCESS-TOKEN: secret-token', '-H', 'Expect:', ...args])
}

type Nginx = { url: string; process: ChildProcess }

async function startNginx(folder: string): Promise<Nginx | undefined> {
  if (!existsSync('/usr/sbin/nginx')) return undefined
  const port = await freePort()
  writeFileSync(
    join(folder, 'nginx.conf'),
    `worker_processes 1; daemon off; pid ${folder}/nginx.pid; error_log /dev/null; ${process.getuid?.() === 0 ? 'user root;' : ''}
     events {} http { access_log off; client_body_temp_path ${folder}; sendfile on;
     server { listen 127.0.0.1:${port}; root ${folder}; client_max_body_size 0; location / { dav_methods PUT; } } }`,
  )
  const child = spawn('/usr/sbin/nginx', ['-c', join(folder, 'nginx.conf'), '-p', folder], {
    stdio: 'ignore',
  })
  const deadline = performance.now() + 10_000
  while (!(await answers(port))) {
    // Without the module that takes uploads, for example.
    if (child.exitCode !== null || performance.now() > deadline) return undefined
  }
  return { url: `http://127.0.0.1:${port}`, process: child }
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => setTimeout(resolve, 50, false))
  })
}

function milliseconds(act: () => void): number {
  const startedAt = performance.now()
  act()
  return performance.now() - startedAt
}

function gigabytesPerSecond(act: () => void): number {
  return BULK_BYTES / 1e6 / milliseconds(act)
}

function median(values: number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
}

if (process.argv[1] === import.meta.filename) printTable(title, await run())
