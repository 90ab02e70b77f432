// Python packages as published on PyPI, each set in a virtual environment of its own that is kept between runs.

import { execFile } from 'node:child_process'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'

const FOLDER = '/var/cache/opensandbox-test'
/** The SDK that is current; older ones are named by the tests that hold to them. */
const SDK = 'opensandbox==1.1.1'

const run = promisify(execFile)

/** Makes the environment in `$1`, with the packages behind it, unless it is whole already. */
const MAKE = `set -e
folder=$1
shift
test ! -e "$folder/complete" || exit 0
python3 -m venv --clear "$folder"
"$folder/bin/pip" install --quiet "$@"
touch "$folder/complete"`

/** The Python that has these packages (`name==version`), installed when they are not there yet. */
export async function pythonWith(...packages: string[]): Promise<string> {
  const folder = join(FOLDER, `python-${packages.join('+').replaceAll('==', '-')}`)
  await mkdir(FOLDER, { recursive: true })
  // Other test processes may want it, too. It cannot be made elsewhere and moved: its programs name their place.
  await run('flock', [`${folder}.lock`, 'sh', '-c', MAKE, 'sh', folder, ...packages], { timeout: 360_000 })
  return join(folder, 'bin/python')
}

/** The Python that has the current SDK. */
export function pythonWithSdk(): Promise<string> {
  return pythonWith(SDK)
}
