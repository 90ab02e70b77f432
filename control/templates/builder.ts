// Prepares templates, of each tenant one after the other: the image is fetched, a sandbox is started from it and warmed until it is
// ready, and the template's name can be used. What is to be done stands in the rows, so a build that a stop has interrupted begins
// anew at the next start, and the sandbox that it had is removed first.

import { setTimeout as delay } from 'node:timers/promises'
import type { TemplateRequest } from '../../lib/api/templates.ts'
import { ApiError, messageOf } from '../../lib/errors.ts'
import { pause } from '../async.ts'
import { refusal } from '../errors.ts'
import type { ExecdClient } from '../execd-client.ts'
import { removeSandbox } from '../sandbox/change.ts'
import { beginStart, newRow } from '../sandbox/create.ts'
import type { Lives } from '../sandbox/lives.ts'
import { type PlanLimits, planCreate } from '../sandbox/plan.ts'
import { Wake } from '../sandbox/wake.ts'
import type { SandboxRow } from '../store/rows.ts'
import type { TemplateRow, TemplateStore } from '../store/templates.ts'
import { parseProbe, runProbe } from './probe.ts'
import { requestOfTemplate } from './request.ts'

const DEFAULT_WARMUP_SECONDS = 60
const ATTEMPT_TIMEOUT_MS = 10_000
const BETWEEN_ATTEMPTS_MS = 500
const AFTER_FAILURE_MS = 5000
/** So many are built side by side, each of another tenant: a build may take an hour, and another tenant does not wait for it. */
const WIDTH = 8

export type BuilderDeps = {
  lives: Lives
  templates: TemplateStore
  execd: ExecdClient
  planLimits: () => PlanLimits
  /** How long a probe has at least. */
  probeMs?: number
}

export class TemplateBuilder {
  readonly #deps: BuilderDeps
  /** The builds that are under way, by tenant. */
  readonly #building = new Map<string, { id: string; cancel: AbortController; done: Promise<void> }>()
  readonly #wake = new Wake()

  constructor(deps: BuilderDeps) {
    this.#deps = deps
  }

  /** Says that there is something to build. */
  wake(): void {
    this.#wake.call()
  }

  /** Ends the build of a template that was deleted. */
  cancel(id: string): void {
    for (const building of this.#building.values())
      if (building.id === id) building.cancel.abort(new Error('The template was deleted'))
  }

  /** Builds until the program stops. */
  async run(): Promise<void> {
    const { lives, templates } = this.#deps
    const { signal, log } = lives
    await this.#removeLeftovers()
    while (!signal.aborted) {
      try {
        const next = this.#building.size < WIDTH ? templates.next([...this.#building.keys()]) : undefined
        if (next) {
          this.#begin(next)
          continue
        }
      } catch (error) {
        log.error('templates could not be read; it is tried again', { error: messageOf(error) })
        await pause(AFTER_FAILURE_MS, signal)
        continue
      }
      await this.#wake.wait(signal)
    }
    await Promise.all([...this.#building.values()].map(({ done }) => done))
  }

  #begin(template: TemplateRow): void {
    const { signal, log } = this.#deps.lives
    const { id, tenant } = template
    const cancel = new AbortController()
    const work = async () => {
      try {
        await this.#build(template, AbortSignal.any([signal, cancel.signal]))
      } catch (error) {
        log.error('a template could not be built; it is tried again', {
          template: id,
          error: messageOf(error),
        })
        await pause(AFTER_FAILURE_MS, signal)
      }
      this.#building.delete(tenant)
      this.#wake.call()
    }
    this.#building.set(tenant, { id, cancel, done: work() })
  }

  async #build(template: TemplateRow, signal: AbortSignal): Promise<void> {
    const { lives, templates } = this.#deps
    const { now, log } = lives
    const building = templates.move(template.id, ['Pending', 'Building'], {
      phase: 'Building',
      message: null,
      updatedAt: now(),
    })
    if (!building) return
    const began = now()
    let row: SandboxRow | undefined
    try {
      const plan = planCreate(requestOfTemplate(template.request), this.#deps.planLimits())
      row = lives.store.insert({
        ...newRow(lives, plan, {
          owner: { tenant: template.tenant, createdBy: null },
          source: { templateId: template.id },
        }),
        hidden: true,
        warm: true,
      })
      const start = beginStart(lives, row, plan.image)
      const onAbort = () => start.cancel(new Error('The build was ended'))
      signal.addEventListener('abort', onAbort, { once: true })
      if (signal.aborted) onAbort()
      const running = await start.done.finally(() => signal.removeEventListener('abort', onAbort))
      await this.#warm(running, template.request, signal)
      templates.move(template.id, ['Building'], {
        phase: 'Succeeded',
        image: plan.image.uri,
        updatedAt: now(),
      })
      log.info('template is ready', { template: template.id, image: plan.image.uri, ms: now() - began })
    } catch (error) {
      // A stop is no failure: the next start begins anew. A deleted one has nobody to tell.
      if (signal.aborted) return
      if (!(error instanceof ApiError))
        log.error('a template could not be built', { template: template.id, error })
      const message = error instanceof ApiError ? error.message : 'The template could not be built'
      templates.move(template.id, ['Building'], { phase: 'Failed', message, updatedAt: now() })
    } finally {
      // After a stop the next start removes it, before it builds anew.
      if (row && !lives.signal.aborted) await this.#remove(row.id)
    }
  }

  async #warm(row: SandboxRow, { readiness = {} }: TemplateRequest, signal: AbortSignal): Promise<void> {
    const { execd, probeMs = DEFAULT_WARMUP_SECONDS * 1000 } = this.#deps
    const warmupMs = (readiness.warmupSeconds ?? DEFAULT_WARMUP_SECONDS) * 1000
    const probe = readiness.probe === undefined ? undefined : parseProbe(readiness.probe)
    const limitMs = probe ? Math.max(probeMs, readiness.warmupSeconds === undefined ? 0 : warmupMs) : warmupMs
    const deadline = performance.now() + limitMs
    const target = { address: row.address ?? '', token: row.execdToken }
    let reason = 'it did not answer'
    do {
      if (probe) {
        const attempt = AbortSignal.any([signal, AbortSignal.timeout(ATTEMPT_TIMEOUT_MS)])
        const outcome = await runProbe(execd, target, probe, attempt).catch((error) => ({
          ok: false as const,
          reason: messageOf(error),
        }))
        if (outcome.ok) return
        reason = outcome.reason
      }
      this.#requireRunning(row.id)
      const rest = Math.max(deadline - performance.now(), 0)
      await delay(Math.min(BETWEEN_ATTEMPTS_MS, rest), undefined, { signal })
    } while (performance.now() < deadline)
    this.#requireRunning(row.id)
    if (probe)
      throw refusal(
        'DOCKER::SANDBOX_START_FAILED',
        `The readiness probe did not pass within ${limitMs / 1000} seconds: ${reason}`,
      )
  }

  #requireRunning(id: string): void {
    const row = this.#deps.lives.store.get(id)
    if (row?.state === 'Running') return
    throw refusal('DOCKER::SANDBOX_START_FAILED', row?.message ?? 'The sandbox ended while it was warmed')
  }

  async #removeLeftovers(): Promise<void> {
    for (const id of this.#deps.templates.leftovers()) await this.#remove(id)
  }

  async #remove(id: string): Promise<void> {
    const { lives } = this.#deps
    try {
      await removeSandbox(lives, id, 'TEMPLATE_BUILT')
    } catch (error) {
      lives.log.error('the sandbox of a template could not be removed yet', {
        sandbox: id,
        error: messageOf(error),
      })
      lives.doubts.add(id, lives.now())
    }
  }
}
