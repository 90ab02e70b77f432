import type { Config } from '../../lib/config.ts'
import type { Instance } from '../../lib/instance.ts'
import type { Logger } from '../../lib/log.ts'
import type { EgressClient } from '../egress-client.ts'
import type { Runtime } from './runtime.ts'

export type RuntimeOptions = {
  config: Config
  instance: Instance
  /** Absolute. */
  dataDir: string
  egress: EgressClient
  /** The variables that name proxies, for pulling images. */
  proxyEnvironment: Record<string, string>
  log: Logger
  /** Ends what the runtime keeps running for itself. */
  signal: AbortSignal
}

/** Opens the runtime that the configuration names. It is loaded only then, so that one does not need what another needs. */
export async function openRuntime(options: RuntimeOptions): Promise<Runtime> {
  const { type } = options.config.runtime
  if (type === 'docker') {
    const { openDockerRuntime } = await import('./docker/open-docker-runtime.ts')
    return await openDockerRuntime(options)
  }
  const { openLocalRuntime } = await import('./local/open-local-runtime.ts')
  return await openLocalRuntime(options)
}
