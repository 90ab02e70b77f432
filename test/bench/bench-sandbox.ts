// A sandbox as benchmarks use it: made and called over the wire, as clients do, and looked into from the machine.

import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { instanceOf } from '../../lib/instance.ts'
import type { Edge } from '../support/edge.ts'
import { privateBytesOfProcess } from './process-cost.ts'

const CALL_TIMEOUT_MS = 30_000

export type BenchSandbox = { id: string; execd: string; headers: Record<string, string> }

export async function createSandbox(edge: Edge, more: Record<string, unknown> = {}): Promise<BenchSandbox> {
  const created = await call(`${edge.url}/v1/sandboxes`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      image: { uri: 'host' },
      entrypoint: ['sleep', '600'],
      resourceLimits: { cpu: '2', memory: '512Mi' },
      timeout: 600,
      ...more,
    }),
  })
  const { id } = (await created.json()) as { id: string }
  const found = await call(`${edge.url}/v1/sandboxes/${id}/endpoints/44772`)
  const { endpoint, headers } = (await found.json()) as { endpoint: string; headers: Record<string, string> }
  return { id, execd: `http://${endpoint}`, headers }
}

export async function removeSandbox(edge: Edge, { id }: BenchSandbox): Promise<void> {
  await call(`${edge.url}/v1/sandboxes/${id}`, { method: 'DELETE' })
}

/** Runs a command and gives its stream once it has completed. */
export async function exec({ execd, headers }: BenchSandbox, command = 'true'): Promise<string> {
  const response = await startExec({ execd, headers }, command)
  const text = await response.text()
  if (!text.includes('execution_complete')) throw new Error(`The command did not complete: ${text}`)
  return text
}

/** Starts a command and gives the answer whose body is its stream. */
export function startExec(
  { execd, headers }: Pick<BenchSandbox, 'execd' | 'headers'>,
  command: string,
): Promise<Response> {
  return call(`${execd}/command`, {
    method: 'POST',
    headers: { ...headers, 'content-type': 'application/json' },
    body: JSON.stringify({ command }),
  })
}

/** Where runc keeps what it knows of the sandboxes. */
export function runcRoot(edge: Edge): string {
  return join(instanceOf(edge.dataDir).runDir, 'runc')
}

/** What our own processes in the sandbox hold for themselves: everything in its process namespace but the entrypoint. */
export function privateMegabytes(edge: Edge, id: string): number {
  const state = JSON.parse(
    execFileSync('runc', ['--root', runcRoot(edge), 'state', id], { encoding: 'utf8' }),
  ) as { pid: number }
  const namespace = readlinkSync(`/proc/${state.pid}/ns/pid`)
  let bytes = 0
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      if (readlinkSync(`/proc/${pid}/ns/pid`) !== namespace) continue
      if (!readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('/opt/opensandbox/')) continue
      bytes += privateBytesOfProcess(pid)
    } catch {
      // a process that ended while it was looked at holds nothing
    }
  }
  return bytes / 2 ** 20
}

async function call(url: string, init: RequestInit = {}): Promise<Response> {
  const response = await fetch(url, { ...init, signal: AbortSignal.timeout(CALL_TIMEOUT_MS) })
  if (!response.ok)
    throw new Error(`${init.method ?? 'GET'} ${url}: ${response.status} ${await response.text()}`)
  return response
}
