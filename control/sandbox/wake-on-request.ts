// Letting a paused sandbox go on when somebody asks it for something. The gateway has seen to it that they may.

import type { WakeMode } from '../../lib/wake-mode.ts'
import { refusal } from '../errors.ts'
import type { SandboxRow } from '../store/rows.ts'
import { requireSandbox, resumeTo } from './change.ts'
import { type Lives, stepOf } from './lives.ts'

/** Whether a request may wake a sandbox, or is worth holding until it is awake. */
export function mayWake(
  { state, reason, hidden, wake }: Pick<SandboxRow, 'state' | 'reason' | 'hidden' | 'wake'>,
  configured: WakeMode,
): boolean {
  if (hidden) return false
  const mode = wake ?? configured
  if (state === 'Resuming') return true
  if (state !== 'Paused' && state !== 'Pausing') return false
  return mode === 'always' || (mode === 'idle' && reason === 'IDLE')
}

/** Resolves once it runs, whoever has let it. */
export async function wakeSandbox(lives: Lives, id: string): Promise<void> {
  const { turns, settings, now, log } = lives
  requireSandbox(lives, id)
  await turns.take(id, async () => {
    const row = requireSandbox(lives, id)
    if (row.state === 'Running') return
    const resuming = mayWake(row, settings.wake ?? 'never') ? stepOf(row, 'resume', now()) : undefined
    if (!resuming)
      throw refusal('DOCKER::SANDBOX_NOT_RUNNING', `The sandbox is ${row.state} and is not woken`)
    const began = now()
    await resumeTo(lives, row, resuming, {
      reason: 'WOKEN',
      timeoutMs: settings.wakeTimeoutMs ?? settings.pauseTimeoutMs,
    })
    log.info('sandbox woken by a request', { sandbox: id, ms: now() - began })
  })
}
