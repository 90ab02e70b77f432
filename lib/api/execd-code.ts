// The wire of code contexts (contract: execd.md 1.2, 7.1). Plain types: what a request must be is checked in execd/code/.

/** A context as `POST /code/context` answers and lists have it. */
export type CodeContextInfo = {
  id: string
  language: string
  /** Where it was asked to begin. */
  cwd?: string
}
