// Docker's engine as a peer: the one that runs, or one of our own for as long as it is needed, with the test image in it.

import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DEBIAN_TARBALL } from '../support/images.ts'
import { output } from './program.ts'

const IMAGE = 'opensandbox-bench'
const START_MS = 20_000

/** Gives `measure` the name of an image that Docker has; undefined when there is no Docker here, or no image to put into it. */
export async function withDocker<T>(measure: (image: string) => Promise<T>): Promise<T | undefined> {
  if (!existsSync(DEBIAN_TARBALL)) return undefined
  const folder = mkdtempSync(join(tmpdir(), 'bench-docker-'))
  const own = !existsSync('/var/run/docker.sock')
  const daemon = own
    ? spawn(
        'dockerd',
        ['--data-root', join(folder, 'data'), '--exec-root', join(folder, 'exec'), '-p', join(folder, 'pid')],
        { stdio: 'ignore' },
      )
    : undefined
  let failed = false
  daemon?.on('error', () => {
    failed = true
  })
  try {
    const deadline = performance.now() + START_MS
    while (!dockerAnswers()) {
      if (failed || performance.now() > deadline) return undefined
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
    execFileSync('docker', ['import', DEBIAN_TARBALL, IMAGE], { stdio: 'ignore' })
    const measured = await measure(IMAGE)
    await output('docker', ['rmi', IMAGE])
    return measured
  } finally {
    if (daemon && !failed) {
      const ended = new Promise((resolve) => daemon.on('exit', resolve))
      daemon.kill('SIGTERM')
      await ended
    }
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Starts a container that waits, and gives its id. */
export async function startContainer(image: string): Promise<string> {
  return (await output('docker', ['run', '-d', '--init', image, 'sleep', '600'])).trim()
}

function dockerAnswers(): boolean {
  try {
    execFileSync('docker', ['version'], { stdio: 'ignore', timeout: 5000 })
    return true
  } catch {
    return false // not yet, or no Docker here
  }
}
