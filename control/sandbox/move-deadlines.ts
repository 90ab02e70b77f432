import type { Lives } from './lives.ts'

/**
 * What is written as a time of day stays as far away as it was when the wall clock jumps by `byMs`. False when it could not be
 * done at this moment.
 */
export function moveDeadlines(lives: Lives, keeper: { shift(byMs: number): void }, byMs: number): boolean {
  const { store, log } = lives
  // Within a change that may yet be undone it would be undone with it.
  if (store.database.raw.inTransaction) return false
  let shared: string[] = []
  try {
    store.database.transact(() => {
      store.deadlines.shift(byMs)
      store.once.shift(byMs)
      shared = store.shares.shift(byMs)
    })
  } catch (error) {
    log.error('the wall clock has jumped, and deadlines could not be moved along yet', { error })
    return false
  }
  store.shares.tell(shared)
  lives.doubts.shift(byMs)
  lives.activity.shift(byMs)
  keeper.shift(byMs)
  log.warn('the wall clock has jumped; deadlines were moved along', { byMs })
  return true
}
