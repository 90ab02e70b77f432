// The Python SDK as published on PyPI, in a virtual environment that is kept between runs.

import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'

const VERSION = '1.1.1'
const FOLDER = `/var/cache/opensandbox-test/python-sdk-${VERSION}`

const run = promisify(execFile)

/** The Python that has the SDK, installed when it is not there yet. */
export async function pythonWithSdk(): Promise<string> {
  const complete = join(FOLDER, 'complete')
  if (!existsSync(complete)) {
    await run('python3', ['-m', 'venv', '--clear', FOLDER], { timeout: 60_000 })
    await run(join(FOLDER, 'bin/pip'), ['install', '--quiet', `opensandbox==${VERSION}`], {
      timeout: 180_000,
    })
    await run('touch', [complete])
  }
  return join(FOLDER, 'bin/python')
}
