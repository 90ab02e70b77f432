// Python packages as published on PyPI, each set in a virtual environment of its own that is kept between runs.

import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'

const FOLDER = '/var/cache/opensandbox-test'
/** The SDK that is current; older ones are named by the tests that hold to them. */
const SDK = 'opensandbox==1.1.1'

const run = promisify(execFile)

/** The Python that has these packages (`name==version`), installed when they are not there yet. */
export async function pythonWith(...packages: string[]): Promise<string> {
  const folder = join(FOLDER, `python-${packages.join('+').replaceAll('==', '-')}-2`)
  if (!existsSync(folder)) {
    // Other test processes may be making it, too: whose is there first is everybody's.
    const made = `${folder}.${process.pid}`
    await run('python3', ['-m', 'venv', '--clear', made], { timeout: 60_000 })
    await run(join(made, 'bin/pip'), ['install', '--quiet', ...packages], { timeout: 300_000 })
    await rename(made, folder).catch(async (error: NodeJS.ErrnoException) => {
      await rm(made, { recursive: true, force: true })
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error
    })
  }
  return join(folder, 'bin/python')
}

/** The Python that has the current SDK. */
export function pythonWithSdk(): Promise<string> {
  return pythonWith(SDK)
}
