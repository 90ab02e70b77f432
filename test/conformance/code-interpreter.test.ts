// The published code-interpreter SDK, unchanged, against both engines: kernels of a Jupyter server that the image brings, and
// our own kernels with what this machine's own image has.

import { existsSync, readdirSync, realpathSync } from 'node:fs'
import { join } from 'node:path'
import { ConnectionConfig } from '@alibaba-group/opensandbox'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { CODE_IMAGE_ENTRYPOINT, codeImage } from '../support/code-image.ts'
import { type Edge, startEdge } from '../support/edge.ts'
import { type CheckResult, checksOf, runChecks } from '../support/python-checks.ts'
import { pythonWith } from '../support/python-sdk.ts'
import { createSandbox } from '../support/sandbox.ts'

const SCRIPT = join(import.meta.dirname, 'code_interpreter_surface.py')
const GO = '/usr/local/go/bin'

type Settings = {
  image: string
  entrypoint: string[] | null
  env: Record<string, string>
  engine: 'jupyter' | 'builtin'
  languages: string[]
}

const JUPYTER: Settings = {
  image: 'code',
  entrypoint: [CODE_IMAGE_ENTRYPOINT],
  env: { GREETING: 'hello' },
  engine: 'jupyter',
  languages: ['python', 'javascript', 'typescript', 'bash'],
}
const JDK = findJdk()
const BUILTIN: Settings = {
  image: 'host',
  entrypoint: null,
  env: { GREETING: 'hello', PATH: [GO, ...(JDK ? [`${JDK}/bin`] : []), '/usr/bin', '/bin'].join(':') },
  engine: 'builtin',
  languages: [
    ...['python', 'javascript', 'typescript', 'bash'],
    ...(existsSync(`${GO}/go`) ? ['go'] : []),
    ...(JDK ? ['java'] : []),
  ],
}

/** A JDK that is whole below /usr: of those of Debian, a part is in /etc, which the image `host` has of its own. */
function findJdk(): string | undefined {
  const folder = '/usr/lib/jvm'
  const homes = existsSync(folder) ? readdirSync(folder).map((name) => join(folder, name)) : []
  return homes.find((home) => {
    const settings = join(home, 'conf/security/java.security')
    return (
      existsSync(join(home, 'bin/jshell')) &&
      existsSync(settings) &&
      realpathSync(settings).startsWith('/usr/')
    )
  })
}

let edge: Edge
let python: string
beforeAll(async () => {
  const image = await codeImage()
  python = await pythonWith('opensandbox-code-interpreter==1.1.1')
  edge = await startEdge({ config: `[runtime.images]\ncode = "${image}"\n` })
  await unpack('code')
}, 900_000)
afterAll(async () => {
  await edge?.dispose()
}, 300_000)

/** The first sandbox of an image waits for it to be unpacked, which is not what clients are held to here. */
async function unpack(image: string): Promise<void> {
  const connectionConfig = new ConnectionConfig({
    domain: `127.0.0.1:${edge.port}`,
    requestTimeoutSeconds: 600,
  })
  const sandbox = await createSandbox(edge, { image, connectionConfig, readyTimeoutSeconds: 600 })
  await sandbox.kill()
  await sandbox.close()
}

describe.each([JUPYTER, BUILTIN])('code-interpreter SDK 1.1.1, $engine', (settings) => {
  let results: Map<string, CheckResult>
  beforeAll(async () => {
    results = await runChecks(python, SCRIPT, [`127.0.0.1:${edge.port}`, JSON.stringify(settings)])
  }, 300_000)

  test.for(checksOf(SCRIPT))('%s', (name, context) => {
    const result = results.get(name)
    expect(result, 'the script ended before this check').toBeDefined()
    expect(result?.detail ?? '').toBe('')
    expect(result?.ok).toBe(true)
    if (result?.missing) context.skip('not in this image')
  })
})
