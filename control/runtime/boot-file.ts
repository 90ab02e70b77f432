import { type BootFile, EXECD_PORT } from '../../lib/api/guest.ts'
import { LIFECYCLE_VARIABLE } from '../../lib/api/lifecycle-hooks.ts'
import type { RuntimeSpec } from './runtime.ts'
import { trustEnv } from './trust/trust-env.ts'

/** What an image says about running it; its user by numbers, or by the name that the image's own files know. */
export type RunConfig = Pick<BootFile, 'env' | 'workdir' | 'uid' | 'gid' | 'user'>

/** What execd is told of a sandbox: the image's words below the caller's, and between them what the sandbox is called. */
export function makeBootFile(spec: RuntimeSpec, image: RunConfig, stopGraceMs: number): BootFile {
  // Hooks are the caller's to give: how long a start may take depends on them.
  const { [LIFECYCLE_VARIABLE]: _ofImage, ...imageEnv } = image.env
  const env = { ...imageEnv, OPENSANDBOX_ID: spec.id, ...spec.env }
  return {
    ...image,
    token: spec.execdToken,
    host: '0.0.0.0',
    port: EXECD_PORT,
    entrypoint: spec.entrypoint,
    env: spec.credentialProxy ? { ...env, ...trustEnv(env) } : env,
    stopGraceMs,
  }
}
