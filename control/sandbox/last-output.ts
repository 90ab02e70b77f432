// What a sandbox printed last: a few words of it in the message of its failure, more of it kept for when it is gone.

import type { Lives } from './lives.ts'

const TIMEOUT_MS = 5000
/** So much is kept of a sandbox that is gone. */
export const KEPT_LOG_BYTES = 64 << 10
const SHOWN_BYTES = 4096
const SHOWN_LINES = 5
const SHOWN_CHARS = 600

/** The end of a sandbox's output, or undefined: without it, everything else goes on. */
export async function readLastOutput(
  { runtime, log }: Pick<Lives, 'runtime' | 'log'>,
  id: string,
  maxBytes: number,
): Promise<Uint8Array | undefined> {
  try {
    return await runtime.logs(id, { maxBytes }, AbortSignal.timeout(TIMEOUT_MS))
  } catch (error) {
    log.warn('the output of a sandbox could not be read', { sandbox: id, error })
    return undefined
  }
}

/** A message of a failed end with what was printed last, if anything was. */
export async function withLastOutput(
  lives: Pick<Lives, 'runtime' | 'log'>,
  id: string,
  message: string,
): Promise<string> {
  const bytes = await readLastOutput(lives, id, SHOWN_BYTES)
  const words = bytes ? lastWords(Buffer.from(bytes).toString('utf8')) : ''
  return words === '' ? message : `${message}. Its last output: ${words}`
}

/** The last lines of a text, short enough for a message; characters that move a cursor are left out. */
export function lastWords(text: string): string {
  const lines = text
    .replace(/\u001b\[[0-9;?]*[ -/]*[@-~]/g, '')
    .split(/[\r\n]+/)
    .map((line) => line.replace(/[\u0000-\u001f\u007f]/g, ' ').trim())
    .filter((line) => line !== '')
    .slice(-SHOWN_LINES)
  const words = lines.join(' | ')
  return words.length > SHOWN_CHARS ? `…${words.slice(-SHOWN_CHARS)}` : words
}
