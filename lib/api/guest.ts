// How a runtime hands a sandbox over to execd. The runtime mounts two directories into the sandbox:
//
//   /opt/opensandbox   the portable runtime directory, read-only, shared by all sandboxes (control/runtime/guest-dir.ts)
//   /run/opensandbox   this sandbox's own exchange directory, writable, owned by the sandbox's root with mode 0700
//
// and starts the command of GUEST_COMMAND_FILE. execd waits for `boot.json` in the exchange directory, which the runtime puts
// there once the sandbox's network and its rules are in place, and deletes it before anything of the user's runs; it makes `ready.json` when it accepts connections and the entrypoint has been started (or failed to), and
// `exit.json` as the last thing before it exits with the entrypoint's code. Each file is written beside and renamed, so a
// reader never sees half of one. From then on the directory is the sandbox's: what the runtime reads there may be forged.

export const GUEST_DIR = '/opt/opensandbox'
export const EXCHANGE_DIR = '/run/opensandbox'
/** Where isolated sessions keep what they write, unless their configuration says otherwise (contract: execd.md 8.5). */
export const ISOLATION_DIR = '/var/lib/execd/isolation'

/** execd's port in every sandbox (contract: execd.md 0). */
export const EXECD_PORT = 44772
/** The port under which a sandbox's policy API is reached; egress serves it (contract: egress.md 2). */
export const EGRESS_PORT = 18080

/** The file that lists the sandbox's first process, relative to GUEST_DIR: a JSON array of absolute arguments. */
export const GUEST_COMMAND_FILE = 'command.json'

export type BootFile = {
  token: string
  /** Where execd listens; `0.0.0.0` in a sandbox of its own network. */
  host: string
  port: number
  entrypoint: string[]
  /** The complete environment of the user's processes: the image's below the user's. */
  env: Record<string, string>
  /** Where the entrypoint starts and relative paths begin; made if missing. */
  workdir: string
  /** The user of the image's `User`, as numbers; absent means root. */
  uid?: number
  gid?: number
  /** The image's `User` in its own words, `name:group`, where nobody has looked it up in the image's files; instead of the numbers. */
  user?: string
  /** How long the entrypoint has between TERM and KILL when the sandbox stops. */
  stopGraceMs: number
}

export type ReadyFile =
  /** `port`: where execd really listens, for a boot file that said 0. */
  | { ok: true; port?: number }
  /** The entrypoint could not be started, or a hook before it failed: execd ends by itself. */
  | { ok: false; reason: 'entrypoint_failed' | 'hook_failed' | 'listen_failed'; message: string }

/** `exitCode` is 255, and `message` says why, when execd had been restarted and the kernel has not kept how the entrypoint ended. */
export type ExitFile = { exitCode: number; signal?: string; message?: string }
