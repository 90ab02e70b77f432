// All code contexts of a sandbox, bounded in number. Each language has a default one, made when it is first needed.

import { resolvePath } from '../files/path.ts'
import { execdError } from '../http/answer.ts'
import { makeCwd } from '../make-cwd.ts'
import { createRandomId } from '../random-id.ts'
import type { Surroundings } from '../surroundings.ts'
import { CodeContext } from './context.ts'
import type { Engine, Kernel, Language } from './engine.ts'
import { chooseEngine, createEngines } from './engines.ts'
import type { ContextSpec } from './request.ts'

const MAX_CONTEXTS = 32
const START_DEADLINE_MS = 90_000
const DELETE_GRACE_MS = 1000

export class CodeContexts {
  readonly #surroundings: Surroundings
  readonly #contexts = new Map<string, CodeContext>()
  readonly #defaults = new Map<Language, Promise<CodeContext>>()
  #engines: Promise<Engine[]> | undefined
  #starting = 0
  #isStopping = false

  constructor(surroundings: Surroundings) {
    this.#surroundings = surroundings
  }

  /** Makes a context with its kernel running. Throws a refusal that says what is missing. */
  async create(spec: ContextSpec, signal: AbortSignal): Promise<CodeContext> {
    this.#refuseIfStopping()
    if (this.#contexts.size + this.#starting >= MAX_CONTEXTS)
      throw execdError('TOO_MANY', `There are ${MAX_CONTEXTS} code contexts already: delete one first`)
    this.#starting++
    try {
      const context = new CodeContext({
        id: createRandomId(),
        language: spec.language,
        ...(spec.cwd ? { cwd: spec.cwd } : {}),
        start: (stop) => this.#start(spec, stop),
        log: this.#surroundings.log,
      })
      await context.open(signal)
      if (this.#isStopping) await context.close(0)
      this.#refuseIfStopping()
      this.#contexts.set(context.id, context)
      return context
    } finally {
      this.#starting--
    }
  }

  /** The context that runs what names none. */
  async defaultOf(language: Language, cwd?: string): Promise<CodeContext> {
    let found = this.#defaults.get(language)
    if (!found) {
      const made = this.create(
        { language, envs: {}, ...(cwd ? { cwd } : {}) },
        AbortSignal.timeout(START_DEADLINE_MS),
      )
      found = made
      this.#defaults.set(language, made)
      made.catch(() => {
        if (this.#defaults.get(language) === made) this.#defaults.delete(language)
      })
    }
    return found
  }

  /** Throws a refusal when there is none of that id. */
  get(id: string): CodeContext {
    const context = this.#contexts.get(id)
    if (!context) throw execdError('CONTEXT_NOT_FOUND', `context ${id} not found`)
    return context
  }

  has(id: string): boolean {
    return this.#contexts.has(id)
  }

  list(language?: Language): CodeContext[] {
    const all = [...this.#contexts.values()]
    return language ? all.filter((context) => context.language === language) : all
  }

  async delete(id: string): Promise<void> {
    await this.#close(this.get(id), DELETE_GRACE_MS)
  }

  async deleteAll(language: Language): Promise<void> {
    // One that is just being made is one of them.
    await this.#defaults.get(language)?.catch(() => {})
    await Promise.all(this.list(language).map((context) => this.#close(context, DELETE_GRACE_MS)))
  }

  /** Interrupts by the id of a context or of a run. False when it is of neither. */
  async interrupt(id: string): Promise<boolean> {
    const context = this.#contexts.get(id)
    if (context) {
      await context.interrupt()
      return true
    }
    const owner = this.list().find((one) => one.has(id))
    await owner?.interrupt(id)
    return owner !== undefined
  }

  /** Ends all contexts; there are none from then on. */
  async endAll(graceMs: number): Promise<void> {
    this.#isStopping = true
    await Promise.all(this.list().map((context) => this.#close(context, graceMs)))
  }

  #refuseIfStopping(): void {
    if (this.#isStopping) throw execdError('SERVICE_UNAVAILABLE', 'The sandbox is being stopped')
  }

  async #close(context: CodeContext, graceMs: number): Promise<void> {
    this.#contexts.delete(context.id)
    const { language } = context
    const isDefault = (await this.#defaults.get(language)?.catch(() => undefined)) === context
    if (isDefault) this.#defaults.delete(language)
    await context.close(graceMs)
  }

  async #start({ language, cwd, envs }: ContextSpec, signal: AbortSignal): Promise<Kernel> {
    const { identity, environment } = this.#surroundings
    const env = environment(identity(), envs)
    this.#engines ??= createEngines(this.#surroundings)
    const engine = await chooseEngine(await this.#engines, language, env)
    const spec = { language, cwd: this.#makeCwd(cwd, env), env }
    return engine.start(spec, AbortSignal.any([signal, AbortSignal.timeout(START_DEADLINE_MS)]))
  }

  /** The directory that a kernel begins in, made when it is missing. */
  #makeCwd(cwd: string | undefined, env: Record<string, string>): string {
    const { resolveCwd, identity, home, workdir } = this.#surroundings
    if (cwd === undefined) return resolveCwd(undefined, env)
    const path = resolvePath(cwd, { env, home, cwd: workdir })
    makeCwd(path, identity())
    return path
  }
}
