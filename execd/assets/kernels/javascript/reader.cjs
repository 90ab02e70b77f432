// Reads the channel in a thread of its own, so that an interrupt arrives while the main thread is busy: a loop without end is
// ended by the debugger's means. What the main thread waits for while it prints is told through shared memory.

'use strict'

const { parentPort, workerData } = require('node:worker_threads')
const { Socket } = require('node:net')

/** A main thread that has not answered by then runs something that does not end by itself. */
const BUSY_MS = 100
const { SYNCED, INTERRUPTED, ANSWERED } = workerData.fields
const shared = new Int32Array(workerData.shared)

let text = ''
let interrupts = 0
const channel = new Socket({ fd: workerData.fd, readable: true, writable: false })
channel.setEncoding('utf8')
channel.on('data', (chunk) => {
  text += chunk
  for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
    take(JSON.parse(text.slice(0, end)))
    text = text.slice(end + 1)
  }
})
// execd has gone.
channel.on('close', () => process.kill(process.pid, 'SIGKILL'))
parentPort.postMessage({ op: 'online' })

function take(message) {
  if (message.op === 'execute') parentPort.postMessage(message)
  else if (message.op === 'synced') {
    Atomics.store(shared, SYNCED, message.id)
    Atomics.notify(shared, SYNCED)
  } else if (message.op === 'interrupt') interrupt()
}

function interrupt() {
  const number = ++interrupts
  Atomics.store(shared, INTERRUPTED, number)
  Atomics.notify(shared, SYNCED)
  parentPort.postMessage({ op: 'interrupt', number })
  setTimeout(() => {
    if (Atomics.load(shared, ANSWERED) < number) endExecution()
  }, BUSY_MS)
}

function endExecution() {
  // Connected only now: a program that has a debugger says so when it exits.
  const { Session } = require('node:inspector')
  const session = new Session()
  session.connectToMainThread()
  session.post('Runtime.terminateExecution', () => session.disconnect())
}
