// Isolated sessions of a real execd, as a client has them.

import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { IsolatedRunStatus, IsolatedSessionState } from '../../../lib/api/execd-isolated.ts'
import { type Daemon, type DaemonOptions, type Event, outputOf, parseEvents, startDaemon } from '../daemon.ts'

/** A wrapper of execd that takes its capability to mount away, and every way to gain one, as in our sandboxes. */
export const WITHOUT_MOUNTS = ['setpriv', '--bounding-set=-sys_admin', '--no-new-privs', '--']

/** Whether this machine lets us try: it takes root and bubblewrap. */
export function isPossible(): boolean {
  const bwrap = spawnSync('bwrap', ['--ro-bind', '/', '/', '--unshare-pid', 'true'])
  return process.getuid?.() === 0 && bwrap.status === 0
}

export type Ran = { events: Event[]; stdout: string; stderr: string; error?: Event['error'] }

export type Session = {
  id: string
  path: string
  /** Runs code, or what a run request says, and waits for its end. */
  run(asked: string | Record<string, unknown>): Promise<Ran>
  call(method: string, path: string, body?: unknown): Promise<Answer>
  state(): Promise<IsolatedSessionState>
  status(runId: string): Promise<IsolatedRunStatus>
  log(runId: string, cursor?: number): Promise<{ status: number; text: string; cursor: number }>
  upload(path: string, content: string): Promise<Answer>
  remove(): Promise<Answer>
}

// biome-ignore lint/suspicious/noExplicitAny: whatever JSON an answer has is looked into by the test.
export type Answer = { status: number; text: string; body: any }

export type Isolated = {
  execd: Daemon
  /** A directory of the test's own, outside of /tmp, which sessions do not see. */
  dir: string
  /** Makes a directory below `dir`, with files in it. */
  folder(name: string, files?: Record<string, string>): string
  call(method: string, path: string, body?: unknown): Promise<Answer>
  create(body: Record<string, unknown>): Promise<Session>
  [Symbol.asyncDispose](): Promise<void>
}

export type IsolatedOptions = DaemonOptions & {
  /** More of the configuration. */
  config?: string
  env?: Record<string, string>
  /** The user of the sandbox, root if nobody says. */
  uid?: number
}

export async function startIsolated({
  config = '',
  env = {},
  uid = 0,
  ...options
}: IsolatedOptions = {}): Promise<Isolated> {
  const dir = mkdtempSync('/var/tmp/isolated-test-')
  mkdirSync(join(dir, 'allowed'))
  writeFileSync(
    join(dir, 'isolation.toml'),
    `upper_root = "${dir}/upper"\nallowed_writable = ["${dir}/allowed"]\n${config}`,
  )
  const execd = await startDaemon(
    {
      uid,
      gid: uid,
      env: {
        PATH: '/usr/bin:/bin',
        HOME: '/root',
        VISIBLE: 'yes',
        MY_TOKEN: 'hidden',
        EXECD_ISOLATION_CONFIG: join(dir, 'isolation.toml'),
        ...env,
      },
    },
    options,
  )
  const call = async (method: string, path: string, body?: unknown): Promise<Answer> => {
    const response = await execd.call(path, {
      method,
      ...(body === undefined ? {} : { body: body instanceof FormData ? body : JSON.stringify(body) }),
    })
    const text = await response.text()
    const isJson = response.headers.get('content-type')?.startsWith('application/json')
    return { status: response.status, text, body: isJson ? JSON.parse(text) : undefined }
  }
  return {
    execd,
    dir,
    call,
    folder: (name, files = {}) => {
      const path = join(dir, name)
      mkdirSync(path, { recursive: true })
      for (const [file, content] of Object.entries(files)) writeFileSync(join(path, file), content)
      return path
    },
    create: async (body) => {
      const made = await call('POST', '/v1/isolated/session', body)
      if (made.status !== 201) throw new Error(`${made.status} ${made.text}`)
      return sessionOf(execd, call, String(made.body.session_id))
    },
    async [Symbol.asyncDispose]() {
      await execd[Symbol.asyncDispose]()
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

function sessionOf(execd: Daemon, call: Isolated['call'], id: string): Session {
  const path = `/v1/isolated/session/${id}`
  return {
    id,
    path,
    run: async (asked) => {
      const body = JSON.stringify(typeof asked === 'string' ? { code: asked } : asked)
      const response = await execd.call(`${path}/run`, { method: 'POST', body })
      const text = await response.text()
      if (response.status !== 200) throw new Error(`${response.status} ${text}`)
      const events = parseEvents(text)
      const error = events.find((event) => event.type === 'error')?.error
      return {
        events,
        stdout: outputOf(events),
        stderr: outputOf(events, 'stderr'),
        ...(error ? { error } : {}),
      }
    },
    call: (method, below, body) => call(method, `${path}${below}`, body),
    state: async () => (await call('GET', path)).body,
    status: async (runId) => (await call('GET', `${path}/runs/${runId}`)).body,
    log: async (runId, cursor) => {
      const response = await execd.call(
        `${path}/runs/${runId}/logs${cursor === undefined ? '' : `?cursor=${cursor}`}`,
      )
      return {
        status: response.status,
        text: await response.text(),
        cursor: Number(response.headers.get('EXECD-ISOLATED-TAIL-CURSOR')),
      }
    },
    upload: (target, content) => {
      const form = new FormData()
      const metadata = JSON.stringify({ path: target, mode: 644 })
      form.append('metadata', new Blob([metadata], { type: 'application/json' }), 'metadata')
      form.append('file', new Blob([content]), 'file')
      return call('POST', `${path}/files/upload`, form)
    },
    remove: () => call('DELETE', path),
  }
}
