// The image that code interpreters are tested with: a Debian with Jupyter, its kernels of Python and bash, and tslab's of
// JavaScript and TypeScript, laid out as the published code-interpreter image is (contract: execd.md 7.3). Made once, within
// two or three minutes, and kept until its recipe changes.

import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { ociLayout } from './images.ts'

const FOLDER = '/var/cache/opensandbox-test'
const MAKE_TIMEOUT_MS = 600_000

const DEBIAN_PACKAGES = [
  ...['python3', 'python3-venv', 'nodejs', 'bash', 'ca-certificates', 'curl', 'procps'],
  ...['git', 'vim-tiny', 'tmux', 'bubblewrap'],
]
const PYTHON_PACKAGES = [
  'jupyter-server==2.21.1',
  'ipykernel==7.4.0',
  'bash_kernel==0.10.0',
  'matplotlib==3.11.2',
]
const TSLAB = 'tslab@1.0.22'

export const CODE_IMAGE_ENTRYPOINT = '/opt/code-interpreter/code-interpreter.sh'

const ENVIRONMENT = {
  JUPYTER_HOST: 'http://127.0.0.1:44771',
  JUPYTER_PORT: '44771',
  JUPYTER_TOKEN: 'token-of-the-test-image',
}

/** What the sandbox runs. The token goes into a file, so that no kernel and no command line has it. */
const ENTRYPOINT = `#!/bin/bash
set -eu
umask 077
export JUPYTER_TOKEN_FILE=/run/jupyter-token
printf %s "$JUPYTER_TOKEN" > "$JUPYTER_TOKEN_FILE"
unset JUPYTER_TOKEN
umask 022
exec /opt/jupyter/bin/python -m jupyter_server \\
  --ip=127.0.0.1 --port="\${JUPYTER_PORT:-44771}" --ServerApp.port_retries=0 --ServerApp.root_dir=/ \\
  --allow-root --no-browser --ZMQChannelsWebsocketConnection.limit_rate=False \\
  > /opt/code-interpreter/jupyter.log 2>&1
`

/**
 * What is done to the fresh root file system, whose path is the first argument. `pip` runs inside, for the image's Python;
 * `npm` runs outside, as its package brings its own binaries.
 */
const CUSTOMIZE = `#!/bin/sh
set -eu
root=$1
# The machine's ways to the package index, and nothing else of its environment.
cp "\${PIP_CERT:-/etc/ssl/certs/ca-certificates.crt}" "$root/tmp/ca.pem"
inside() {
  chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp PIP_CERT=/tmp/ca.pem PIP_NO_CACHE_DIR=1 \\
    \${PIP_INDEX_URL:+"PIP_INDEX_URL=$PIP_INDEX_URL"} \${HTTPS_PROXY:+"HTTPS_PROXY=$HTTPS_PROXY"} "$@"
}
inside python3 -m venv /opt/jupyter
inside /opt/jupyter/bin/pip install --quiet --disable-pip-version-check ${PYTHON_PACKAGES.join(' ')}
inside /opt/jupyter/bin/python -m bash_kernel.install --sys-prefix
npm install --global --prefix "$root/opt/tslab" --no-audit --no-fund --loglevel=error ${TSLAB}
rm -rf "$root"/opt/tslab/lib/node_modules/tslab/node_modules/zeromq/build/darwin
rm -rf "$root"/opt/tslab/lib/node_modules/tslab/node_modules/zeromq/build/win32
inside /opt/tslab/bin/tslab install --binary=/opt/tslab/bin/tslab --python=/opt/jupyter/bin/python --sys-prefix
mkdir -p "$root/opt/code-interpreter" "$root/workspace"
cp "$(dirname "$0")/code-interpreter.sh" "$root${CODE_IMAGE_ENTRYPOINT}"
chmod 755 "$root${CODE_IMAGE_ENTRYPOINT}"
# What no test looks at, and every sandbox's first start would have to unpack.
find "$root/opt" -type d -name tests -prune -exec rm -rf {} +
rm -rf "$root"/usr/share/doc "$root"/usr/share/man "$root"/usr/share/locale "$root"/usr/share/icons
rm -rf "$root"/var/cache/apt/*.bin "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
rm -rf "$root"/tmp/* "$root"/tmp/.[!.]*
`

/** The path of the image as an OCI layout. */
export async function codeImage(): Promise<string> {
  const recipe = [DEBIAN_PACKAGES.join(), ENTRYPOINT, CUSTOMIZE, JSON.stringify(ENVIRONMENT)].join('\0')
  const key = createHash('sha256').update(recipe).digest('hex').slice(0, 12)
  const path = join(FOLDER, `code-image-${key}`)
  if (existsSync(path)) return join(path, 'layout')
  const making = `${path}.new`
  rmSync(making, { recursive: true, force: true })
  mkdirSync(making, { recursive: true })
  writeFileSync(join(making, 'code-interpreter.sh'), ENTRYPOINT)
  writeFileSync(join(making, 'customize.sh'), CUSTOMIZE, { mode: 0o755 })
  const tarball = join(making, 'root.tar')
  const args = [
    '--variant=minbase',
    `--include=${DEBIAN_PACKAGES.join(',')}`,
    `--customize-hook=${join(making, 'customize.sh')}`,
    'bookworm',
    tarball,
  ]
  await promisify(execFile)('mmdebstrap', args, { timeout: MAKE_TIMEOUT_MS, maxBuffer: 1 << 24 })
  const config = Object.entries(ENVIRONMENT).map(([name, value]) => `--config.env=${name}=${value}`)
  ociLayout(making, 'layout', tarball, [...config, '--config.workingdir=/workspace'])
  rmSync(tarball)
  // Those of earlier recipes.
  for (const name of readdirSync(FOLDER))
    if (name.startsWith('code-image-') && join(FOLDER, name) !== making)
      rmSync(join(FOLDER, name), { recursive: true })
  renameSync(making, path)
  return join(path, 'layout')
}
