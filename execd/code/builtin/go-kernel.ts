// A Go context. It has no process of its own between cells: a cell is built and run, and what the program wrote down of its
// variables is there for the next. Sources are ours, so that no code of the user's can have us write elsewhere; what the
// toolchain and the programs write is in a directory of the user's. Programs are built in the temporary directory, as ours may
// be one that nothing can be executed from.

import { chownSync, copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { signalGroup } from '../../command/end.ts'
import { type ProcessEnd, type RunningProcess, StartError, startProcess } from '../../command/process.ts'
import { execdError } from '../../http/answer.ts'
import { createRandomId } from '../../random-id.ts'
import { assetPath } from '../../runtime-dir.ts'
import type { Surroundings } from '../../surroundings.ts'
import { type CellSink, type Kernel, KernelDied } from '../engine.ts'
import { type BuildProblem, parseBuildOutput, unusedImport } from './go-build.ts'
import { compileError, errorEvent, failureOf } from './go-failure.ts'
import { GoSession, type Program, type ToldVariable } from './go-session.ts'
import { MessageReader } from './kernel-message.ts'
import { KernelOutput } from './kernel-output.ts'

const OLDEST_MINOR = 19
const MAX_BUILD_OUTPUT = 256 << 10
const MAX_BUILDS = 8
const MAX_LAST_WORDS = 64 << 10
const WARM_UP = 'package main\n\nimport "fmt"\n\nfunc main() { fmt.Println() }\n'

export type GoLaunch = { go: string; cwd: string; env: Record<string, string> }

/** Looks whether the toolchain is new enough, and lets it compile what every cell needs while nobody waits yet. */
export async function startGoKernel(
  surroundings: Surroundings,
  launch: GoLaunch,
  signal: AbortSignal,
): Promise<Kernel> {
  const dir = join(surroundings.dir, 'go', createRandomId())
  const { uid, gid } = surroundings.identity()
  for (const name of ['src', 'out']) mkdirSync(join(dir, name), { recursive: true, mode: 0o755 })
  chownSync(join(dir, 'out'), uid, gid)
  const kernel = new GoKernel(surroundings, launch, dir)
  try {
    await kernel.open(signal)
    return kernel
  } catch (error) {
    await kernel.close(0)
    throw error
  }
}

class GoKernel implements Kernel {
  readonly language = 'go'
  readonly ended: Promise<string>
  readonly #surroundings: Surroundings
  readonly #launch: GoLaunch
  readonly #dir: string
  readonly #session = new GoSession()
  #cells = 0
  #warmUp: Promise<unknown> = Promise.resolve()
  #process: RunningProcess | undefined
  #isInterrupted = false
  #isClosed = false
  #tellEnd: (reason: string) => void = () => {}

  constructor(surroundings: Surroundings, launch: GoLaunch, dir: string) {
    this.#surroundings = surroundings
    this.#launch = launch
    this.#dir = dir
    this.ended = new Promise((resolve) => {
      this.#tellEnd = resolve
    })
  }

  async open(signal: AbortSignal): Promise<void> {
    const end = () => void this.close(0)
    signal.addEventListener('abort', end, { once: true })
    const { text } = await this.#go(['env', 'GOVERSION'])
    signal.removeEventListener('abort', end)
    signal.throwIfAborted()
    const [version, minor = '0'] = /^go1\.(\d+)/.exec(text.trim()) ?? []
    if (!version || Number(minor) < OLDEST_MINOR)
      throw execdError(
        'RUNTIME_ERROR',
        `Cannot start the go kernel, as Go 1.${OLDEST_MINOR} or newer is needed: found "${text.trim().slice(0, 200)}"`,
      )
    const { uid, gid } = this.#surroundings.identity()
    writeFileSync(this.#out('go.mod'), `module cell\n\ngo 1.${minor}\n`)
    chownSync(this.#out('go.mod'), uid, gid)
    // The directory of a module has its go.mod; the one above is named by a flag and is the user's to change.
    writeFileSync(this.#src('go.mod'), 'module cell\n')
    copyFileSync(assetPath('kernels/go/kernel.go'), this.#src('kernel.go'))
    writeFileSync(this.#src('cell.go'), WARM_UP)
    this.#warmUp = this.#build('/dev/null').catch(() => {})
  }

  async execute(code: string, sink: CellSink): Promise<void> {
    if (this.#isClosed) throw new KernelDied('it was ended')
    this.#isInterrupted = false
    const cell = ++this.#cells
    await sink({ type: 'execution_count', count: cell })
    await this.#warmUp
    const place = this.#makePlace()
    try {
      const program = await this.#compile(code, cell, join(place, 'cell'), sink)
      if (program && !this.#isInterrupted) await this.#run(program, join(place, 'cell'), sink)
    } catch (error) {
      if (!(error instanceof StartError)) throw error
      await sink(errorEvent('StartError', error.message))
    } finally {
      await rm(place, { recursive: true, force: true })
    }
    if (this.#isClosed) throw new KernelDied('it was ended')
    if (this.#isInterrupted) await sink(errorEvent('KeyboardInterrupt', 'interrupted'))
  }

  async interrupt(): Promise<void> {
    // A program that does not care can be killed: nothing that later cells need is in it.
    const signal = this.#isInterrupted ? 'SIGKILL' : 'SIGINT'
    this.#isInterrupted = true
    if (this.#process) signalGroup(this.#process.pid, signal)
  }

  async close(graceMs: number): Promise<void> {
    this.#isClosed = true
    await this.#process?.end({ graceMs })
    await rm(this.#dir, { recursive: true, force: true })
    this.#tellEnd('it was ended')
  }

  #src(name: string): string {
    return join(this.#dir, 'src', name)
  }

  #out(name: string): string {
    return join(this.#dir, 'out', name)
  }

  /** A directory of the user's for one program. */
  #makePlace(): string {
    const place = mkdtempSync(join(this.#launch.env.TMPDIR ?? '/tmp', 'go-cell-'))
    const { uid, gid } = this.#surroundings.identity()
    chownSync(place, uid, gid)
    return place
  }

  /** Builds the cell's program; what earlier cells left that is in its way is forgotten. Nothing when it cannot be built. */
  async #compile(code: string, cell: number, path: string, sink: CellSink): Promise<Program | undefined> {
    const restore = this.#session.save()
    const unwanted = new Set<string>()
    const forgotten: string[] = []
    let showsCall = true
    let first: BuildProblem[] | undefined
    for (let attempt = 0; attempt < MAX_BUILDS && !this.#isInterrupted; attempt++) {
      const program = this.#session.plan(code, { cell, statePath: this.#out('state'), unwanted, showsCall })
      this.#write(program)
      const { end, text } = await this.#build(path)
      if (end.exitCode === 0) {
        program.commit()
        for (const text of forgotten) await sink({ type: 'stderr', text })
        return program
      }
      if (this.#isInterrupted || this.#isClosed) break
      const problems = parseBuildOutput(text)
      if (problems.length === 0) {
        restore()
        await sink(errorEvent('BuildError', text.trim(), text.trim().split('\n')))
        return undefined
      }
      const unused = problems.map(unusedImport).filter((each) => each !== undefined)
      for (const each of unused) unwanted.add(each)
      if (unused.length > 0) continue
      const own = problems.filter(({ where }) => where === `cell-${cell}`)
      if (
        program.isGuessing &&
        own.some(({ message }) => /\(no value\) used as value|multiple-value/.test(message))
      ) {
        showsCall = false
        continue
      }
      first ??= problems
      if (own.length > 0 || !this.#forget(problems, forgotten)) break
    }
    restore()
    if (first) await sink(compileError(first, code, cell))
    return undefined
  }

  /** Forgets what does not compile any more. False when that is nothing of earlier cells. */
  #forget(problems: BuildProblem[], forgotten: string[]): boolean {
    const before = forgotten.length
    for (const { where, line, message } of problems) {
      const [, variable] = /^kept-(\w+)$/.exec(where) ?? []
      const [, cell] = /^cell-(\d+)$/.exec(where) ?? []
      const name =
        variable !== undefined
          ? this.#session.forget({ variable })
          : cell !== undefined
            ? this.#session.forget({ cell: Number(cell), line })
            : undefined
      if (name !== undefined) {
        const [why = ''] = message.split('\n')
        forgotten.push(`[${name} is forgotten, as it does not compile any more: ${why}]\n`)
      }
    }
    return forgotten.length > before
  }

  #write({ files }: Program): void {
    for (const name of readdirSync(this.#src('')))
      if (name.endsWith('.go') && name !== 'kernel.go') rmSync(this.#src(name))
    for (const [name, text] of Object.entries(files)) writeFileSync(this.#src(name), text)
  }

  #build(path: string): Promise<{ end: ProcessEnd; text: string }> {
    // All problems and not the first ten; modules that are imported are fetched.
    const flags = ['-mod=mod', `-modfile=${this.#out('go.mod')}`, '-gcflags=-e', '-ldflags=-w']
    return this.#go(['build', ...flags, '-o', path, '.'])
  }

  /** Runs the toolchain and gives what it said. */
  async #go(args: string[]): Promise<{ end: ProcessEnd; text: string }> {
    const { go, env } = this.#launch
    const process = await startProcess(this.#surroundings.starter, {
      path: go,
      argv: ['go', ...args],
      cwd: this.#src(''),
      env: { CGO_ENABLED: '0', GOTOOLCHAIN: 'local', ...env, GOWORK: 'off', GO111MODULE: 'on' },
      user: this.#surroundings.identity(),
      output: 'merged',
    })
    this.#process = process
    if (this.#isInterrupted || this.#isClosed) signalGroup(process.pid, 'SIGKILL')
    const text = await readAll(process.stdout)
    const end = await process.ended
    this.#process = undefined
    return { end, text }
  }

  async #run(program: Program, path: string, sink: CellSink): Promise<void> {
    const { cwd, env } = this.#launch
    const process = await startProcess(this.#surroundings.starter, {
      path,
      argv: ['cell'],
      cwd,
      env,
      user: this.#surroundings.identity(),
      output: 'separate',
      channel: true,
    })
    this.#process = process
    if (this.#isInterrupted || this.#isClosed) signalGroup(process.pid, 'SIGINT')
    const output = new KernelOutput(process)
    let words = ''
    output.begin((event) => {
      if (event.type === 'stderr') words = (words + event.text).slice(-MAX_LAST_WORDS)
      return sink(event)
    })
    const told = await this.#listen(process, output)
    const end = await process.ended
    // What a program started ends with it: between cells there is nothing that it could belong to.
    await process.end({ graceMs: 0 })
    await output.settle()
    output.end()
    this.#process = undefined
    await this.#keep(told, program, sink)
    if (!this.#isInterrupted && (end.exitCode !== 0 || end.signal)) await sink(failureOf(end, words))
  }

  /** Hands on results, and gives what the program told of its variables. */
  async #listen(process: RunningProcess, output: KernelOutput): Promise<ToldVariable[]> {
    const reader = new MessageReader()
    let told: ToldVariable[] = []
    try {
      for await (const chunk of process.channel ?? []) {
        for (const line of reader.push(chunk as Buffer)) {
          const message = JSON.parse(line) as { op?: string; text?: string; variables?: ToldVariable[] }
          if (message.op === 'result')
            await output.put({ type: 'result', results: { 'text/plain': String(message.text) } })
          else if (message.op === 'variables' && isTold(message.variables)) told = message.variables
        }
      }
    } catch {
      // Code of the user's may write anything there, and loses its variables by that.
    }
    return told
  }

  async #keep(told: ToldVariable[], program: Program, sink: CellSink): Promise<void> {
    for (const { name, why } of this.#session.keep(told, program))
      await sink({ type: 'stderr', text: `[${name} is not there for later cells: ${why}]\n` })
  }
}

function isTold(value: unknown): value is ToldVariable[] {
  return (
    Array.isArray(value) &&
    value.every(
      (each: Partial<ToldVariable> | null) =>
        typeof each?.name === 'string' &&
        typeof each.type === 'string' &&
        typeof each.why === 'string' &&
        typeof each.isZero === 'boolean' &&
        typeof each.imports === 'object' &&
        each.imports !== null &&
        Array.isArray(each.own),
    )
  )
}

async function readAll(stream: Readable): Promise<string> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length <= MAX_BUILD_OUTPUT) chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}
