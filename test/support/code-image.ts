// The image that code interpreters are tested with: a Debian with Jupyter, its kernels of Python and bash, and tslab's of
// JavaScript and TypeScript, laid out as the published code-interpreter image is (contract: execd.md 7.3). Made once, within
// two or three minutes, and kept until its recipe changes.

import { CUSTOMIZE_START, madeImage } from './made-image.ts'

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
const CUSTOMIZE = `${CUSTOMIZE_START}inside python3 -m venv /opt/jupyter
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
export function codeImage(): Promise<string> {
  return madeImage({
    name: 'code-image',
    debianPackages: DEBIAN_PACKAGES,
    files: { 'code-interpreter.sh': ENTRYPOINT },
    customize: CUSTOMIZE,
    environment: ENVIRONMENT,
  })
}
