// The reports that a shell owes, in the order in which it was asked for them: one when it is ready, one at the end of each run, which
// is followed by its state. A report begins with the nonce that it was asked for with; whoever else writes here does not know it.

import { type ReportField, ReportReader } from './report.ts'
import type { SavedState } from './script.ts'

/** A field of state beyond this is not kept, such as a data set in an array; no program could be started with as many variables. */
const MAX_FIELD_BYTES = 2 << 20
/** Status, flags and directory; then the exported variables and all the rest. */
const RUN_FIELDS = 5

/** A run that came to its end. */
export type RunReport = Pick<SavedState, 'cwd' | 'traced'> & { status: number }

export type RunReportHandler = {
  ended(report: RunReport): void
  /** The state at that end, a little later: writing it down takes a shell its time. */
  saved(report: RunReport, exports: ReportField, rest: ReportField): void
}

/** `take` is given the fields as they come, without the nonce. */
type DueReport = { nonce: string; length: number; fields: ReportField[]; take(fields: ReportField[]): void }

export class DueReports {
  readonly #reader = new ReportReader(MAX_FIELD_BYTES)
  readonly #due: DueReport[] = []

  /** Calls `opened` with the shell's directory. */
  expectOpening(nonce: string, opened: (cwd: string) => void): void {
    this.#expect(nonce, 1, ([cwd]) => cwd && opened(directoryOf(cwd)))
  }

  expectRun(nonce: string, handler: RunReportHandler): void {
    this.#expect(nonce, RUN_FIELDS, ([status, flags, cwd, exports, rest]) => {
      if (!status || !flags || !cwd) return
      const traced = textOf(flags).replace(/[^xv]/g, '')
      const report = { status: Number(textOf(status)), traced, cwd: directoryOf(cwd) }
      if (exports && rest) handler.saved(report, exports, rest)
      else if (!exports) handler.ended(report)
    })
  }

  /** Adds what the shell has written. */
  push(chunk: Buffer): void {
    for (const field of this.#reader.push(chunk)) this.#take(field)
  }

  #expect(nonce: string, length: number, take: DueReport['take']): void {
    this.#due.push({ nonce, length, fields: [], take })
  }

  #take(field: ReportField): void {
    const due = this.#due[0]
    if (!due) return
    if (due.nonce !== '') {
      if (textOf(field) === due.nonce) due.nonce = ''
      return
    }
    due.fields.push(field)
    if (due.fields.length === due.length) this.#due.shift()
    due.take(due.fields)
  }
}

function textOf({ bytes }: ReportField): string {
  return bytes.toString('latin1')
}

/** What `pwd` wrote, which is a line. */
function directoryOf({ bytes }: ReportField): string {
  return bytes.toString('utf8').replace(/\n$/, '')
}
