// The process of a ProgramStarter: runs programs as it is told, for as long as there is somebody to tell it, or does by calls to the
// system what they would do.

import { basename } from 'node:path'
import { ProgramCalls } from './program-calls/program-calls.ts'
import type { ProgramAnswer, ProgramOrder } from './program-starter.ts'
import { ProgramError, runProgram } from './run-program.ts'

const PARENT_EVERY_MS = 1000

const calls = ProgramCalls.open()
const running = new Map<number, AbortController>()

// A terminal tells its whole process group; when there is nothing to run any more, our starter alone knows.
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => {})
process.on('disconnect', () => process.exit(0))
// Who is killed while this begins is gone before anybody listens for it. A process whose parent has ended gets another one.
const parent = Number(process.argv[2])
setInterval(() => {
  if (process.ppid !== parent) process.exit(0)
}, PARENT_EVERY_MS)
process.on('message', (order: ProgramOrder) => {
  if (order.what === 'stop') running.get(order.id)?.abort(new Error('It was stopped'))
  else void run(order)
})

async function run({ id, program, args, options }: Extract<ProgramOrder, { what: 'run' }>): Promise<void> {
  const controller = new AbortController()
  running.set(id, controller)
  let answer: ProgramAnswer
  try {
    const { signal } = controller
    const called = await calls?.run(program, args, options)
    signal.throwIfAborted()
    answer = { id, result: called ?? (await runProgram(program, args, { ...options, signal })) }
  } catch (error) {
    const { message } = error instanceof Error ? error : new Error(String(error))
    const { code, stderr } = error instanceof ProgramError ? error : { code: undefined, stderr: '' }
    const what = message.replace(`${basename(program)}: `, '')
    answer = { id, failed: { what, ...(code !== undefined && { code }), stderr } }
  }
  running.delete(id)
  // Nobody may be there any more who wants to know.
  if (process.connected) process.send?.(answer, () => {})
}
