// The page that a browser is shown in the place of a sandbox: what is the matter, what to do, and where it makes sense, a new try by
// itself. It needs nothing else and runs nothing, whatever stands in it. Pure.

import type { Refusal } from './refusal.ts'

/** The page's own header lines: it loads nothing, and its style is its own. */
export const PAGE_FIELDS =
  "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n"

type Look = 'waiting' | 'asleep' | 'closed' | 'gone' | 'trouble'

/** Drawn on 24 by 24, in lines. */
const ICONS: Record<Look, string> = {
  waiting: '<path d="M12 3v4m0 10v4M3 12h4m10 0h4M5.6 5.6l2.9 2.9m7 7 2.9 2.9m0-12.8-2.9 2.9m-7 7-2.9 2.9"/>',
  asleep: '<path d="M20 14.5A8.5 8.5 0 0 1 9.5 4 8.5 8.5 0 1 0 20 14.5z"/>',
  closed: '<rect x="5" y="11" width="14" height="9" rx="2"/><path d="M8 11V8a4 4 0 0 1 8 0v3"/>',
  gone: '<circle cx="11" cy="11" r="7"/><path d="m20 20-4-4M8.5 11h5"/>',
  trouble: '<path d="M9 3v5m6-5v5M7 8h10v3a5 5 0 0 1-10 0zm5 8v5"/>',
}

export function formatPage(refusal: Refusal, requestId: string): string {
  const { status, code, message, advice = '', retryAfter } = refusal
  const look = lookOf(refusal)
  const isWaiting = retryAfter !== undefined
  const refresh = isWaiting ? `<meta http-equiv="refresh" content="${retryAfter}">` : ''
  // Read out once, and not again at every new try.
  const bar = isWaiting ? '<div class="bar" aria-hidden="true"><i></i></div>' : ''
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><meta name="robots" content="noindex">${refresh}
<title>${escapeHtml(message)}</title>
<style>${STYLE}</style></head>
<body><main class="${look}"${isWaiting ? ' role="status"' : ''}>
<svg viewBox="0 0 24 24" aria-hidden="true">${ICONS[look]}</svg>
<h1>${escapeHtml(message)}</h1>
${advice === '' ? '' : `<p>${escapeHtml(advice)}</p>\n`}${bar}<footer><span>${status} ${escapeHtml(code)}</span><span>${escapeHtml(requestId)}</span></footer>
</main></body></html>
`
}

function lookOf({ status, code, retryAfter }: Refusal): Look {
  if (status === 401 || status === 403 || status === 429) return 'closed'
  if (status === 404 || status === 410) return 'gone'
  if (status === 409 || code === 'DOCKER::SANDBOX_RESUME_FAILED') return 'asleep'
  return status === 503 && retryAfter !== undefined ? 'waiting' : 'trouble'
}

const STYLE = `
:root { color-scheme: light dark; --back: #f5f6f8; --card: #fff; --text: #1b1f27; --soft: #596273; --line: #e1e5ec; --tint: #3159c9; --halo: #e8edfb }
@media (prefers-color-scheme: dark) { :root { --back: #101318; --card: #191e26; --text: #eceff5; --soft: #9aa5b8; --line: #2a313d; --tint: #91aefc; --halo: #232d45 } }
* { box-sizing: border-box }
body { margin: 0; min-height: 100vh; min-height: 100svh; display: grid; place-items: center; padding: 1.5rem; background: var(--back); color: var(--text); font: 1rem/1.6 system-ui, -apple-system, "Segoe UI", sans-serif }
main { width: 100%; max-width: 30rem; padding: 2.5rem 2.25rem 1.5rem; background: var(--card); border: 1px solid var(--line); border-radius: 1rem; box-shadow: 0 1px 2px rgb(0 0 0 / 5%), 0 12px 32px rgb(0 0 0 / 6%) }
svg { display: block; width: 3.25rem; height: 3.25rem; padding: .8rem; margin: 0 0 1.4rem; border-radius: .9rem; background: var(--halo); color: var(--tint); fill: none; stroke: currentColor; stroke-width: 1.75; stroke-linecap: round; stroke-linejoin: round }
h1 { margin: 0 0 .6rem; font-size: 1.35rem; line-height: 1.3; font-weight: 650; overflow-wrap: anywhere }
p { margin: 0 0 1.5rem; color: var(--soft); overflow-wrap: anywhere }
.bar { height: 4px; margin: 0 0 1.5rem; border-radius: 2px; background: var(--line); overflow: hidden }
.bar i { display: block; width: 40%; height: 100%; border-radius: 2px; background: var(--tint); animation: pass 1.4s ease-in-out infinite }
@keyframes pass { from { transform: translateX(-100%) } to { transform: translateX(250%) } }
@media (prefers-reduced-motion: reduce) { .bar i { width: 100%; animation: none; opacity: .55 } }
footer { display: flex; flex-wrap: wrap; gap: .25rem 1rem; justify-content: space-between; padding-top: 1rem; border-top: 1px solid var(--line); color: var(--soft); font: .75rem/1.5 ui-monospace, SFMono-Regular, Menlo, monospace; overflow-wrap: anywhere }
`

const ENTITIES: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (char) => ENTITIES[char] ?? char)
}
