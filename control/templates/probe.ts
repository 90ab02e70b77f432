// Whether what a template starts is ready: a port that takes connections, or a command that succeeds (contract: v1.1.md 1.4).

import type { CommandOutcome, ExecdClient, ExecdTarget } from '../execd-client.ts'

export type Probe = { kind: 'tcp'; host: string; port: number } | { kind: 'cmd'; line: string }

/** A probe as it is written, or undefined when it is none. */
export function parseProbe(text: string): Probe | undefined {
  if (text.startsWith('cmd://')) {
    const line = text.slice('cmd://'.length).trim()
    return line === '' ? undefined : { kind: 'cmd', line }
  }
  const match = /^tcp:\/\/([A-Za-z0-9._-]{1,253}|\[[0-9a-fA-F:.]{2,45}\]):(\d{1,5})\/?$/.exec(text)
  const port = Number(match?.[2])
  if (!match || port < 1 || port > 65535) return undefined
  return { kind: 'tcp', host: (match[1] ?? '').replace(/[[\]]/g, ''), port }
}

/** Asks once. */
export async function runProbe(
  execd: ExecdClient,
  target: ExecdTarget,
  probe: Probe,
  signal: AbortSignal,
): Promise<CommandOutcome> {
  if (probe.kind === 'cmd') return await execd.run(target, { line: probe.line }, signal)
  const { host, port } = probe
  if (await execd.accepts(target, port, signal)) return { ok: true }
  signal.throwIfAborted()
  // What listens on the sandbox's own loopback is reached from inside alone.
  const line = `bash -c 'exec 3<>"/dev/tcp/$0/$1"' ${host} ${port} 2>/dev/null || nc -z ${host} ${port}`
  const inside = await execd.run(target, { line }, signal)
  return inside.ok ? inside : { ok: false, reason: `nothing listens on ${host}:${port}` }
}
