// The wire of code contexts (contract: execd.md 1.2, 7.1). Plain types: what a request must be is checked in execd/code/.

/** A context as `POST /code/context` answers and lists have it. */
export type CodeContextInfo = {
  id: string
  language: string
  /** Where it was asked to begin. */
  cwd?: string
}

/** `POST /code/context`. */
export type CodeContextRequest = {
  language: string
  cwd?: string | null
  /** An addition: variables for the context's processes. */
  envs?: Record<string, string> | null
}

/** `POST /code`. */
export type CodeRequest = {
  code: string
  /** Without an id the default context of the language, without a language a command line for the shell. */
  context?: { id?: string | null; language?: string | null; cwd?: string | null } | null
  /** An addition: milliseconds after which the run is interrupted. */
  timeout?: number | null
}
