// Runs a program of the system (nft, ip) with a deadline and bounded output. Arguments are a list, never a shell's text.

import { spawn } from 'node:child_process'

export type RunOptions = { input?: string; timeoutMs?: number; maxOutputBytes?: number }
export type RunResult = { code: number; stdout: string; stderr: string }
export type RunCommand = (
  command: string,
  args: readonly string[],
  options?: RunOptions,
) => Promise<RunResult>

/** Resolves with whatever exit code; rejects when the program cannot be started, or was ended for its time or output. */
export const runCommand: RunCommand = (command, args, options = {}) => {
  const { input = '', timeoutMs = 10_000, maxOutputBytes = 16 * 1024 * 1024 } = options
  return new Promise((resolve, reject) => {
    const child = spawn(command, [...args], { stdio: ['pipe', 'pipe', 'pipe'] })
    const output = { stdout: [] as Buffer[], stderr: [] as Buffer[] }
    let size = 0
    let stopped: Error | undefined
    const stop = (why: string) => {
      stopped ??= new Error(`${command} ${args.join(' ')} ${why}`)
      child.kill('SIGKILL')
    }
    const timer = setTimeout(() => stop(`did not end within ${timeoutMs} ms`), timeoutMs)
    for (const name of ['stdout', 'stderr'] as const)
      child[name].on('data', (chunk: Buffer) => {
        size += chunk.length
        if (size > maxOutputBytes) stop(`wrote more than ${maxOutputBytes} bytes`)
        else output[name].push(chunk)
      })
    // A program that ends without reading its input is judged by its exit code.
    child.stdin.on('error', () => {})
    child.stdin.end(input)
    child.once('error', (error) => {
      clearTimeout(timer)
      reject(error)
    })
    child.once('close', (code) => {
      clearTimeout(timer)
      if (stopped) reject(stopped)
      else
        resolve({
          code: code ?? 1,
          stdout: Buffer.concat(output.stdout).toString(),
          stderr: Buffer.concat(output.stderr).toString(),
        })
    })
  })
}
