// What was accepted and has no effect, told in headers. Some of it is named by the caller: what no header can hold, or so much that no
// client would read the answer, must not take the answer away from something that has been made.

import type { Context } from 'hono'

const HEADER = 'OpenSandbox-Warning'
const MAX_WARNINGS = 20
const MAX_LENGTH = 200

/** As many warnings as an answer can hold, each as one line of visible characters. */
export function fitWarnings(warnings: readonly string[]): string[] {
  const fit = warnings.slice(0, MAX_WARNINGS).map((text) => {
    const visible = text.replace(/[^\x20-\x7e]/g, '?')
    return visible.length > MAX_LENGTH ? `${visible.slice(0, MAX_LENGTH)}...` : visible
  })
  const rest = warnings.length - fit.length
  return rest > 0 ? [...fit, `${rest} more have no effect on this runtime`] : fit
}

/** Tells them in the answer. */
export function tellWarnings(context: Context, warnings: readonly string[]): void {
  for (const warning of fitWarnings(warnings)) context.header(HEADER, warning, { append: true })
}
