// Starts egress for the sandboxes of this machine, or as the sidecar of a pod.

import { HELP } from './config.ts'
import { runMachine } from './machine/run-machine.ts'
import { isSidecar, runSidecar } from './sidecar/run-sidecar.ts'

const { env } = process
const args = process.argv.slice(2)
if (args.includes('--help')) process.stdout.write(HELP)
else if (isSidecar(args)) await runSidecar({ env, args })
else await runMachine({ env, args })
process.exit(0)
