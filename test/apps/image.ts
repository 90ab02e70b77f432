// The image of the apps that need more than the machine has: JupyterLab, and a desktop behind noVNC.

import { CUSTOMIZE_START, madeImage } from '../support/made-image.ts'

const DEBIAN_PACKAGES = [
  ...['python3', 'python3-venv', 'procps', 'ca-certificates'],
  ...[
    'novnc',
    'websockify',
    'tigervnc-standalone-server',
    'tigervnc-tools',
    'xterm',
    'x11-xserver-utils',
    'xfonts-base',
  ],
]
const PYTHON_PACKAGES = ['jupyterlab==4.6.6', 'ipykernel==7.4.0']

const CUSTOMIZE = `${CUSTOMIZE_START}
inside python3 -m venv /opt/jupyter
inside /opt/jupyter/bin/pip install --quiet --disable-pip-version-check ${PYTHON_PACKAGES.join(' ')}
mkdir -p "$root/workspace"
find "$root/opt" -type d -name tests -prune -exec rm -rf {} +
rm -rf "$root"/usr/share/doc "$root"/usr/share/man "$root"/usr/share/locale
rm -rf "$root"/var/cache/apt/*.bin "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
rm -rf "$root"/tmp/* "$root"/tmp/.[!.]*
`

/** The path of the image as an OCI layout; some three minutes when it is made. */
export function appsImage(): Promise<string> {
  return madeImage({
    name: 'apps-image',
    debianPackages: DEBIAN_PACKAGES,
    files: {},
    customize: CUSTOMIZE,
    environment: {},
  })
}
