import { outputOf, type RunProgram } from '../../lib/run-program.ts'

/** What all that is below a directory takes on the disk, the same file counted once. */
export async function directorySize(path: string, run: RunProgram, signal: AbortSignal): Promise<number> {
  const output = await outputOf('du', ['--summarize', '--block-size=1', '--one-file-system', '--', path], {
    signal,
    timeoutMs: 60_000,
    by: run,
  })
  return Number.parseInt(output, 10)
}
