// Waiting for a program that was started to listen.

import type { ChildProcess } from 'node:child_process'
import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { PATIENCE_MS } from './patience.ts'

const AGAIN_MS = 20

/** Resolves when something listens on a port of the loopback interface. Rejects when the program that should has ended. */
export async function waitForPort(port: number, program?: ChildProcess): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS
  for (;;) {
    if (program && program.exitCode !== null)
      throw new Error(`The program for port ${port} ended with ${program.exitCode}`)
    if (await isListening(port)) return
    if (performance.now() > deadline)
      throw new Error(`Nothing listens on port ${port} after ${PATIENCE_MS / 1000} seconds`)
    await delay(AGAIN_MS)
  }
}

function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.on('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.on('error', () => resolve(false))
  })
}
