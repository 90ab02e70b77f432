// The promises of control (test/control/model.test.ts) on the real runtime: random operations and faults on the whole product,
// with control killed by SIGKILL and started again by the launcher. After each recovery there is for every row what belongs to
// its sandbox on the machine (a directory, a mount, an interface, rules, a container, a cgroup) and for each of those a row; what
// was acknowledged holds; and what others have on the machine is as it was.
//
// OPENSANDBOX_REAL_STEPS says how many steps, OPENSANDBOX_MODEL_SEED which.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { startEdge } from '../support/edge.ts'
import { placeForeign } from '../support/simulation/foreign.ts'
import { RealExplorer } from '../support/simulation/real-explorer.ts'

const STEPS = Number(process.env.OPENSANDBOX_REAL_STEPS ?? 300)
const SEED = Number(process.env.OPENSANDBOX_MODEL_SEED ?? 20_261_127)

test(
  `control keeps its promises on the real runtime through ${STEPS} random steps, from seed ${SEED}`,
  async () => {
    const lookAtForeign = placeForeign()
    const before = lookAtForeign()
    const folder = mkdtempSync(join(tmpdir(), 'failing-runc-'))
    const faults = join(folder, 'faults')
    mkdirSync(faults)
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
    const runtime = join(folder, 'runc')
    writeFileSync(
      runtime,
      `#!/bin/sh\nfor a in "$@"; do [ -e "${faults}/$a" ] && rm "${faults}/$a" && { echo "broken on purpose" >&2; exit 1; }; done\nexec runc "$@"\n`,
      { mode: 0o755 },
    )
    const edge = await startEdge({
      config: `[server]\napi_key = "root-key"\n[runtime]\noci_runtime = "${runtime}"\nstop_grace_seconds = 1\n`,
    })
    onTestFinished(() => edge.dispose())
    const explorer = new RealExplorer(edge, faults, SEED)
    try {
      await explorer.explore(STEPS)
    } catch (error) {
      throw new Error(
        `OPENSANDBOX_MODEL_SEED=${SEED}: ${error instanceof Error ? error.message : error}\n${explorer.trace.slice(-40).join(', ')}\n${edge.output().split('\n').slice(-60).join('\n')}`,
        { cause: error },
      )
    }
    expect(lookAtForeign()).toEqual(before)
  },
  Math.max(STEPS, 100) * 4000,
)
