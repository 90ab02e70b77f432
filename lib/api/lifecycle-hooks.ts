// Hooks of a sandbox's life as control hands them to execd, in a variable of the sandbox (contract: v1.1.md 1.3 and 2.5). Control
// has checked them (lib/api/lifecycle.ts); execd reads them again by hand, as it does with all that reaches it.

/** The variable that holds the hooks as JSON. It is execd's alone: no process of the user's gets it. */
export const LIFECYCLE_VARIABLE = 'OPENSANDBOX_LIFECYCLE'

export const DEFAULT_HOOK_TIMEOUT_SECONDS = 60
export const MAX_PRE_START_SECONDS = 10_800
export const MAX_PERIODIC_SECONDS = 300
export const MAX_PERIODIC_HOOKS = 100

export type Hook = { command: string[]; timeoutSeconds?: number | undefined }
export type PeriodicHook = Hook & { name: string /** See lib/schedule.ts. */; schedule: string }

export type LifecycleHooks = {
  /** Runs before the entrypoint; its failure is that of the whole start. */
  preStart?: Hook | undefined
  periodic?: PeriodicHook[] | undefined
}

/** How much longer a start may take for the hook before it, from the environment of a sandbox. */
export function preStartTimeoutMs(env: Record<string, string>): number {
  const text = env[LIFECYCLE_VARIABLE]
  if (text === undefined) return 0
  const { preStart } = JSON.parse(text) as LifecycleHooks
  return preStart ? (preStart.timeoutSeconds ?? DEFAULT_HOOK_TIMEOUT_SECONDS) * 1000 : 0
}
