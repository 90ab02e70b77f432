// The portable runtime directory: everything that execd needs to run in any root file system of this machine's
// architecture, even one with no shell and no C library. It holds Node, the loader and libraries that Node needs, a tiny
// init, execd bundled into a few files, and `command.json`, the sandbox's first process.
//
// It is made once per version, named by a hash over everything that goes into it, built beside and renamed, so that a crash
// or a second builder leaves nothing half made. Sandboxes mount it, so older versions are left where they are.

import { createHash } from 'node:crypto'
import { constants, existsSync, readdirSync, readFileSync, realpathSync, statSync } from 'node:fs'
import { chmod, copyFile, mkdir, mkdtemp, readdir, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { basename, dirname, join, relative } from 'node:path'
import { EXCHANGE_DIR, GUEST_COMMAND_FILE, GUEST_DIR } from '../../lib/api/guest.ts'
import { messageOf, systemCodeOf } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import { outputOf } from '../../lib/run-program.ts'
import { keepCompiled } from './keep-compiled.ts'
import { gatherStart } from './start-bundle.ts'
import { CA_FILE, MERGED_FILE, TRUST_DIR } from './trust/trust-env.ts'

const TOOL_TIMEOUT_MS = 60_000

/** The layout of the directory; part of its name, so that a change here makes a new one. */
const LAYOUT = 6
const TINI = '/usr/bin/tini-static'
/** Programs of the host that execd uses, with the libraries that they need. */
const HOST_PROGRAMS = [
  '/usr/bin/dash',
  '/usr/bin/mkfifo',
  '/usr/bin/mount',
  '/usr/bin/nsenter',
  '/usr/bin/env',
  '/usr/bin/setpriv',
  '/usr/bin/unshare',
] // prettier-ignore
/** What isolated sessions need. Without it they use the image's own, if it has one. */
const OPTIONAL_PROGRAMS = ['/usr/bin/bwrap']
/**
 * Node's flags inside the sandbox: little memory and few helper threads. Not every flag is free: those that change how code
 * is compiled make Node drop its own compiled code, and its start take 13 ms longer.
 */
const NODE_FLAGS = ['--max-semi-space-size=1', '--v8-pool-size=1']

const ROOT = join(import.meta.dirname, '../..')
const NODE = join(ROOT, 'node_modules/node/bin/node')
const ASSETS = join(ROOT, 'execd/assets')
/** Programs of execd's own. What they share lies in files of its own, too. */
const ENTRIES = ['main.ts', 'file-worker.ts', 'identity-worker.ts'].map((name) => join(ROOT, 'execd', name))
/** Native modules of terminals: no programs, but they need libraries like one. */
const MODULES = [
  join(ROOT, `node_modules/@lydell/node-pty-linux-${process.arch}/pty.node`),
  join(ROOT, `node_modules/@koromix/koffi-linux-${process.arch}/linux_${process.arch}/koffi.node`),
]

export type GuestDirOptions = { dataDir: string; log: Logger; signal: AbortSignal }

export type GuestDir = {
  /** The directory on the host, to be mounted read-only at GUEST_DIR. */
  path: string
  /** The sandbox's first process, as absolute arguments inside the sandbox. */
  command: string[]
}

/** Makes the runtime directory of this version under `dataDir`, or finds it. */
export async function prepareGuestDir(options: GuestDirOptions): Promise<GuestDir> {
  const base = join(options.dataDir, 'guest')
  for (const program of [TINI, NODE, ...MODULES, ...HOST_PROGRAMS])
    if (!existsSync(program))
      throw new Error(
        `"${program}" is missing (Debian: tini, dash, coreutils, mount, util-linux; npm: node, @lydell/node-pty, koffi)`,
      )
  const programs = [...HOST_PROGRAMS, ...OPTIONAL_PROGRAMS.filter((program) => existsSync(program))]
  const needs = {
    programs,
    ...(await librariesOf([NODE, ...MODULES, ...programs], options.signal)),
  }
  const path = join(base, hashInputs([...programs, ...needs.libraries.values()]))
  if (!existsSync(join(path, GUEST_COMMAND_FILE))) {
    const startedAt = performance.now()
    await mkdir(base, { recursive: true, mode: 0o755 })
    await build(base, path, needs, options)
    options.log.info('made the runtime directory of the sandboxes', {
      path,
      ms: Math.round(performance.now() - startedAt),
    })
  }
  const command = JSON.parse(readFileSync(join(path, GUEST_COMMAND_FILE), 'utf8')) as string[]
  return { path, command }
}

async function build(
  base: string,
  path: string,
  needs: Needs & Programs,
  { log, signal }: GuestDirOptions,
): Promise<void> {
  await removeAbandoned(base)
  const temporary = await mkdtemp(join(base, '.new-'))
  try {
    await fill(temporary, needs)
    await keepCompiled(temporary, nodeIn(temporary, needs), signal).catch((error) => {
      signal.throwIfAborted()
      log.warn('sandboxes start without what was compiled before', { error: messageOf(error) })
    })
    signal.throwIfAborted()
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { recursive: true, force: true })
    // Someone else was faster, with the same content.
    const isThere = systemCodeOf(error) === 'ENOTEMPTY' || systemCodeOf(error) === 'EEXIST'
    if (!isThere) throw new Error(`Cannot make the runtime directory: ${messageOf(error)}`, { cause: error })
  }
}

async function fill(dir: string, { programs, loader, libraries }: Needs & Programs): Promise<void> {
  // World readable throughout: the sandbox's users are other numbers on the host.
  await chmod(dir, 0o755)
  for (const name of ['bin', 'lib']) {
    await mkdir(join(dir, name))
    await chmod(join(dir, name), 0o755)
  }
  await copy(NODE, join(dir, 'bin/node'), 0o755)
  await copy(TINI, join(dir, 'bin/tini'), 0o755)
  for (const program of programs) await copy(program, join(dir, 'bin', basename(program)), 0o755)
  for (const [name, source] of libraries) await copy(source, join(dir, 'lib', name), 0o755)
  for (const module of MODULES) await copy(module, join(dir, 'lib', basename(module)), 0o755)
  for (const name of filesBelow(ASSETS)) {
    await mkdir(dirname(join(dir, 'assets', name)), { recursive: true, mode: 0o755 })
    await copy(join(ASSETS, name), join(dir, 'assets', name), 0o644)
  }
  // What a sandbox trusts beside its image is mounted here; where nothing is, the names lead nowhere.
  await mkdir(join(dir, basename(TRUST_DIR)))
  await chmod(join(dir, basename(TRUST_DIR)), 0o755)
  for (const name of [CA_FILE, MERGED_FILE]) await symlink(`${basename(TRUST_DIR)}/${name}`, join(dir, name))
  await bundleExecd(dir)
  const layout = { loader: `lib/${basename(loader)}` }
  await writeFile(join(dir, 'layout.json'), JSON.stringify(layout), { mode: 0o644 })
  const command = [
    `${GUEST_DIR}/bin/tini`,
    '--',
    ...byLoader(GUEST_DIR, loader, 'dash'),
    `${GUEST_DIR}/assets/init.sh`,
    EXCHANGE_DIR,
    ...nodeIn(GUEST_DIR, { loader }),
    `${GUEST_DIR}/main.js`,
  ]
  await writeFile(join(dir, GUEST_COMMAND_FILE), JSON.stringify(command), { mode: 0o644 })
}

/** The command that runs Node of the directory, where that lies. */
function nodeIn(dir: string, { loader }: Pick<Needs, 'loader'>): string[] {
  return [...byLoader(dir, loader, 'node'), ...NODE_FLAGS]
}

function byLoader(dir: string, loader: string, program: string): string[] {
  return [`${dir}/lib/${basename(loader)}`, '--library-path', `${dir}/lib`, `${dir}/bin/${program}`]
}

/** Bundles execd into `main.js` and one file for each part that is loaded late, with what several share in files of its own. */
async function bundleExecd(dir: string): Promise<void> {
  // Imported only here: esbuild takes longer to load than a prepared directory takes to be found.
  const { buildSync, transformSync } = await import('esbuild')
  // The other forms keep a process of esbuild's running for the next bundle, and there is none.
  const { outputFiles, metafile } = buildSync({
    entryPoints: ENTRIES,
    absWorkingDir: dir,
    outdir: dir,
    metafile: true,
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node24',
    minify: true,
    legalComments: 'none',
    define: { 'import.meta.dirname': '__dirname' },
    logLevel: 'silent',
    write: false,
  })
  const files = outputFiles.map(({ path, text }) => {
    // CommonJS starts in half the time of an ES module: 28 ms instead of 51 with the built-in modules that execd needs. The
    // bundler can split only the latter, so each file is translated afterwards.
    const { code } = transformSync(text, {
      format: 'cjs',
      platform: 'node',
      target: 'node24',
      minify: true,
      supported: { 'dynamic-import': false },
    })
    const name = relative(dir, path)
    const imports = metafile.outputs[name]?.imports ?? []
    const needs = imports.filter(({ kind }) => kind !== 'dynamic-import').map((found) => found.path)
    return { name, code, needs }
  })
  for (const [name, code] of gatherStart(files, 'main.js')) {
    await writeFile(join(dir, name), code, { mode: 0o644 })
    await chmod(join(dir, name), 0o644)
  }
}

/** The loader of programs and their shared libraries: name as asked for, and file. */
type Needs = { loader: string; libraries: Map<string, string> }
/** The programs of the host that are there. */
type Programs = { programs: string[] }

async function librariesOf(programs: string[], signal: AbortSignal): Promise<Needs> {
  return parseLdd(await outputOf('ldd', programs, { signal, timeoutMs: TOOL_TIMEOUT_MS }))
}

/** Reads the output of `ldd`. Throws when a library is missing. */
export function parseLdd(text: string): Needs {
  const libraries = new Map<string, string>()
  let loader = ''
  for (const line of text.split('\n')) {
    const named = /^\s*(\S+) => (.+?)(?: \(0x[0-9a-f]+\))?$/.exec(line)
    if (named?.[2] === 'not found') throw new Error(`The library "${named[1]}" is missing`)
    if (named) libraries.set(named[1] ?? '', named[2] ?? '')
    const plain = /^\s*(\/\S+) \(0x[0-9a-f]+\)$/.exec(line)
    if (plain) loader = plain[1] ?? ''
  }
  if (!loader) throw new Error('Cannot find the loader of a program in the output of ldd')
  libraries.set(basename(loader), loader)
  return { loader, libraries }
}

function filesBelow(dir: string): string[] {
  return readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(dir, join(entry.parentPath, entry.name)))
    .sort()
}

async function copy(source: string, target: string, mode: number): Promise<void> {
  // Shares the blocks where the file system can. A hard link would keep the mode and owner of the source.
  await copyFile(realpathSync(source), target, constants.COPYFILE_FICLONE)
  await chmod(target, mode)
}

/** Temporary directories of builds that were killed. */
async function removeAbandoned(base: string): Promise<void> {
  for (const name of await readdir(base)) {
    const path = join(base, name)
    if (name.startsWith('.new-') && Date.now() - statSync(path).mtimeMs > 3_600_000)
      await rm(path, { recursive: true, force: true })
  }
}

/** A name for everything that goes into the directory, so that an update of any part reaches the next sandbox. */
function hashInputs(programs: string[]): string {
  const hash = createHash('sha256')
  hash.update(JSON.stringify([LAYOUT, NODE_FLAGS, process.arch]))
  for (const path of [NODE, TINI, ...MODULES, ...programs]) {
    const { size, mtimeMs } = statSync(path)
    hash.update(`${path} ${size} ${mtimeMs}\n`)
  }
  for (const name of filesBelow(ASSETS))
    hash
      .update(`${name}\0`)
      .update(readFileSync(join(ASSETS, name)))
      .update('\0')
  // The packages that are bundled into execd.
  hash.update(readFileSync(join(ROOT, 'package-lock.json')))
  for (const [path, text] of ENTRIES.flatMap((entry) => [...sourcesOf(entry)]))
    hash.update(`${path}\0${text}\0`)
  return hash.digest('hex').slice(0, 16)
}

/** A source file and all that it imports from this project, by path. */
function sourcesOf(entry: string): Map<string, string> {
  const found = new Map<string, string>()
  const visit = (path: string) => {
    if (found.has(relative(ROOT, path))) return
    const text = readFileSync(path, 'utf8')
    found.set(relative(ROOT, path), text)
    for (const [, name = ''] of text.matchAll(/\b(?:from|import\()\s*'(\.[^']+\.ts)'/g))
      visit(join(dirname(path), name))
  }
  visit(entry)
  return found
}
