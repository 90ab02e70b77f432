// Sandboxes of a running product, by the published SDK.

import { ConnectionConfig, Sandbox, type SandboxCreateOptions } from '@alibaba-group/opensandbox'
import type { Edge } from './edge.ts'

export type Ran = { exitCode: number | null | undefined; stdout: string; stderr: string }

/** Creates a sandbox with small limits; whatever is given stands above them. */
export function createSandbox(edge: Edge, options: Partial<SandboxCreateOptions> = {}): Promise<Sandbox> {
  return Sandbox.create({
    connectionConfig: new ConnectionConfig({ domain: `127.0.0.1:${edge.port}`, requestTimeoutSeconds: 120 }),
    image: 'host',
    timeoutSeconds: 600,
    resource: { cpu: '1', memory: '512Mi' },
    ...options,
  } as SandboxCreateOptions)
}

/** Runs a command and joins what it printed. */
export async function run(sandbox: Sandbox, command: string, options: { uid?: number } = {}): Promise<Ran> {
  const done = await sandbox.commands.run(command, { timeoutSeconds: 60, ...options })
  const join = (lines: { text: string }[]) => lines.map(({ text }) => text.replace(/\n$/, '')).join('\n')
  return { exitCode: done.exitCode, stdout: join(done.logs.stdout), stderr: join(done.logs.stderr) }
}
