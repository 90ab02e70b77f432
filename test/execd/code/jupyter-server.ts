// A real Jupyter server with the kernels of Python and bash, in a virtual environment that is kept between runs.

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { freePort } from '../../support/edge.ts'
import { pythonWith } from '../../support/python-sdk.ts'

const PACKAGES = ['jupyter-server==2.21.1', 'ipykernel==7.4.0', 'bash_kernel==0.10.0']
const TOKEN = 'token-of-the-tests'

export type Jupyter = {
  env: { JUPYTER_HOST: string; JUPYTER_TOKEN: string }
  /** What kernels of the server are at, by id. */
  kernels(): Promise<{ id: string; name: string; execution_state: string }[]>
  sessions(): Promise<{ id: string; path: string }[]>
  process: ChildProcess
  [Symbol.asyncDispose](): Promise<void>
}

export async function startJupyter(): Promise<Jupyter> {
  const python = await pythonWith(...PACKAGES)
  await addKernels(python)
  const port = await freePort()
  const home = mkdtempSync(join(tmpdir(), 'jupyter-test-'))
  const args = [
    ...['-m', 'jupyter_server', '--allow-root', '--no-browser', '--ip=127.0.0.1', `--port=${port}`],
    ...['--ServerApp.port_retries=0', '--ZMQChannelsWebsocketConnection.iopub_data_rate_limit=0'],
  ]
  const child = spawn(python, args, {
    stdio: 'ignore',
    cwd: home,
    env: { PATH: `${dirname(python)}:/usr/bin:/bin`, HOME: home, JUPYTER_TOKEN: TOKEN },
  })
  const exited = once(child, 'exit')
  const host = `http://127.0.0.1:${port}`
  const get = async (path: string) => {
    const response = await fetch(host + path, { headers: { Authorization: `Token ${TOKEN}` } })
    return response.json() as Promise<never>
  }
  return {
    env: { JUPYTER_HOST: host, JUPYTER_TOKEN: TOKEN },
    kernels: () => get('/api/kernels'),
    sessions: () => get('/api/sessions'),
    process: child,
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await exited
      rmSync(home, { recursive: true, force: true, maxRetries: 5 })
    },
  }
}

/** The kernel of bash is a package like any other, but the server finds only what has been installed as a kernel. */
async function addKernels(python: string): Promise<void> {
  if (existsSync(join(dirname(python), '../share/jupyter/kernels/bash'))) return
  await promisify(execFile)(python, ['-m', 'bash_kernel.install', '--sys-prefix'], { timeout: 60_000 })
}
