// Whether a request to a paused sandbox resumes it.

/** `idle`: one that was paused because nothing was sent to it; `always`: one that was paused by hand, too. */
export const WAKE_MODES = ['never', 'idle', 'always'] as const
export type WakeMode = (typeof WAKE_MODES)[number]
