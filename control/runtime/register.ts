// Telling egress of a sandbox, which puts its rules into the kernel: before it has a network, and while other things of it are made.

import type { RuntimeOptions } from './open-runtime.ts'
import type { RuntimeSpec } from './runtime.ts'
import type { SandboxRecord } from './sandbox-record.ts'

/** Begins it. Whoever has begun it waits for its end, however all else goes: what comes after a failure must not race with it. */
export function register(
  { egress }: Pick<RuntimeOptions, 'egress'>,
  { spec, record }: { spec: RuntimeSpec; record: SandboxRecord },
  signal: AbortSignal,
): Promise<void> {
  const registered = egress.register(
    spec.id,
    {
      address: record.address,
      interface: record.interface,
      ...(spec.networkPolicy && { policy: spec.networkPolicy }),
      token: spec.egressToken,
      ...(spec.tenant !== undefined && { tenant: spec.tenant }),
      ...(spec.credentialProxy && { credentialProxy: true }),
    },
    signal,
  )
  // It may fail before anybody waits.
  registered.catch(() => {})
  return registered
}
