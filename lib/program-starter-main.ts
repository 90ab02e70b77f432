// The thread of a ProgramThread: runs programs as it is told.

import { basename } from 'node:path'
import { parentPort } from 'node:worker_threads'
import type { ProgramAnswer, ProgramOrder } from './program-thread.ts'
import { ProgramError, runProgram } from './run-program.ts'

const running = new Map<number, AbortController>()

parentPort?.on('message', (order: ProgramOrder) => {
  if (order.what === 'stop') running.get(order.id)?.abort(new Error('It was stopped'))
  else void run(order)
})

async function run({ id, program, args, options }: Extract<ProgramOrder, { what: 'run' }>): Promise<void> {
  const controller = new AbortController()
  running.set(id, controller)
  let answer: ProgramAnswer
  try {
    answer = { id, result: await runProgram(program, args, { ...options, signal: controller.signal }) }
  } catch (error) {
    const { message } = error instanceof Error ? error : new Error(String(error))
    const { code, stderr } = error instanceof ProgramError ? error : { code: undefined, stderr: '' }
    answer = { id, failed: { what: message.replace(`${basename(program)}: `, ''), code, stderr } }
  }
  running.delete(id)
  parentPort?.postMessage(answer)
}
