// What is worth counting, as it happens. Whoever does something says so once, here; who listens is decided in one place: the
// numbers for Prometheus always, OpenTelemetry when it is configured, nobody in most tests.

import type { CreatePhase, RuntimeFailure } from '../runtime/runtime.ts'
import type { Scoped } from './request-scope.ts'

export type RequestDone = {
  method: string
  /** The pattern of the route, never a path that somebody made up. */
  route: string
  status: number
  /** When it began, in milliseconds since 1970. */
  beganAt: number
  ms: number
  scoped: Scoped
  /** Whose child the request is, when its caller traces. */
  parentSpanId?: string
}

export const RUNTIME_CALLS = [
  'create',
  'pause',
  'resume',
  'remove',
  'inspect',
  'list',
  'logs',
  'snapshot',
  'seal_snapshot',
  'remove_snapshot',
] as const
export type RuntimeCall = (typeof RUNTIME_CALLS)[number]

export type RuntimeCallDone = {
  call: RuntimeCall
  beganAt: number
  ms: number
  /** Present when it failed: `aborted` when its caller or its time had it end, `other` when it was not expected. */
  failure?: RuntimeFailure | 'aborted' | 'other'
}

/** One step of a create: inside of the runtime, or the claim of a sandbox that a pool had ready. */
export type CreatePhaseDone = {
  phase: CreatePhase | 'claim'
  beganAt: number
  ms: number
  isFailed: boolean
}

export type PassDone = {
  ms: number
  isFailed: boolean
  /** How many sandboxes were looked at with each outcome. */
  outcomes: Record<string, number>
}

/** What a client says of its own create. */
export type ReportedCreate = { language: string; version: string; success: boolean; ms: number }

export type Observer = {
  requestBegins(): void
  requestDone(done: RequestDone): void
  runtimeCallDone(done: RuntimeCallDone): void
  createPhaseDone(done: CreatePhaseDone): void
  passDone(done: PassDone): void
  createReported(report: ReportedCreate): void
}

/** Tells each of several, of whom each listens to what it wants to know. */
export function createObserverOf(listeners: Partial<Observer>[]): Observer {
  return {
    requestBegins() {
      for (const each of listeners) each.requestBegins?.()
    },
    requestDone(done) {
      for (const each of listeners) each.requestDone?.(done)
    },
    runtimeCallDone(done) {
      for (const each of listeners) each.runtimeCallDone?.(done)
    },
    createPhaseDone(done) {
      for (const each of listeners) each.createPhaseDone?.(done)
    },
    passDone(done) {
      for (const each of listeners) each.passDone?.(done)
    },
    createReported(report) {
      for (const each of listeners) each.createReported?.(report)
    },
  }
}
