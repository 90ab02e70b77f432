// Clients of the code interpreter ask whether code can be run by a command that connects to where Jupyter would be
// (contract: v1.1.md 6.1): `bash -c 'exec 3<>/dev/tcp/127.0.0.1/${JUPYTER_PORT:-44771}'`. Where no Jupyter was ever meant to
// be, our own kernels run code, and the answer is yes: that one command is told that the port is execd's own. Nothing listens
// for it, and no other process sees the variable, which would be the port of a Jupyter that a user starts.

import type { CommandRequest } from '../command/request.ts'
import type { Surroundings } from '../surroundings.ts'

const PROBE = /\/dev\/tcp\/(?:127\.0\.0\.1|localhost)\/\$\{?JUPYTER_PORT\b/

/** The request itself, or for a probe of what our own kernels do the same with execd's port in its environment. */
export function answerProbe(
  request: CommandRequest,
  ownPort: number | undefined,
  { environment, identity }: Pick<Surroundings, 'environment' | 'identity'>,
): CommandRequest {
  if (!('line' in request.run) || !PROBE.test(request.run.line) || ownPort === undefined) return request
  const env = environment(identity(), request.envs)
  if (env.JUPYTER_HOST || env.JUPYTER_PORT) return request
  return { ...request, envs: { ...request.envs, JUPYTER_PORT: String(ownPort) } }
}
