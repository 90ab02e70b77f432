// The kernel: takes cells from its reader, one after the other, and tells how they went.

'use strict'

const { createRequire, ...moduleTools } = require('node:module')
const { join } = require('node:path')
const { pathToFileURL } = require('node:url')
const { inspect, types } = require('node:util')
const vm = require('node:vm')
const { Worker } = require('node:worker_threads')
const { createDisplay, formatValue } = require('./display.cjs')
const { Evaluator } = require('./evaluate.cjs')
const { replaceOutput, writeAll } = require('./output.cjs')
const { IMPORT, META, rewrite } = require('./rewrite.cjs')

const CHANNEL = 3
const MAX_MESSAGE = 1 << 16
const MAX_TRACEBACK_LINES = 200
const WAIT_MS = 100
const INTERRUPT = { ename: 'KeyboardInterrupt', evalue: 'interrupted' }
/** Places in the memory that is shared with the reader. */
const fields = { SYNCED: 0, INTERRUPTED: 1, ANSWERED: 2 }
const MAX_CAUSES = 5

function startKernel(language) {
  const shared = new Int32Array(new SharedArrayBuffer(4 * Object.keys(fields).length))
  const evaluator = new Evaluator()
  /** The cell that runs. */
  let running
  let count = 0
  let syncs = 0
  let signals = 0
  let lastWritten

  const send = (message) => writeAll(CHANNEL, Buffer.from(`${JSON.stringify(message)}\n`))

  /** Waits until execd has handed on what was printed so far, so that what comes next comes after it. */
  const sync = () => {
    if (!running) return
    const id = ++syncs
    const interrupts = Atomics.load(shared, fields.INTERRUPTED)
    send({ op: 'sync', id })
    for (;;) {
      const synced = Atomics.load(shared, fields.SYNCED)
      if (synced >= id || Atomics.load(shared, fields.INTERRUPTED) !== interrupts) return
      Atomics.wait(shared, fields.SYNCED, synced, WAIT_MS)
    }
  }

  /** How many interrupts there were, by both ways in which we hear of one. */
  const heard = () => signals + Atomics.load(shared, fields.INTERRUPTED)

  const show = (data) => {
    if (Object.keys(data).length === 0 || !running) return
    send({ op: 'result', cell: running.cell, data })
    sync()
  }

  replaceOutput((fd) => {
    // Two pipes know nothing of each other's order.
    if (lastWritten !== undefined && lastWritten !== fd) sync()
    lastWritten = fd
  })
  defineGlobals(createDisplay(show))
  process.on('SIGINT', () => {
    signals++
  })
  process.on('uncaughtException', (error) => console.error('Uncaught', error))
  process.on('unhandledRejection', (error) => console.error('Uncaught (in promise)', error))

  const execute = async ({ cell, code }) => {
    count++
    lastWritten = undefined
    const interrupted = Promise.withResolvers()
    const interrupt = () => {
      evaluator.abandon()
      interrupted.resolve({ interrupted: true })
    }
    running = { cell, interrupt }
    const before = heard()
    send({ op: 'count', cell, count })
    locateModules()
    const name = `cell_${count}.${language === 'typescript' ? 'ts' : 'js'}`
    const outcome = await Promise.race([run(code, name).catch((error) => ({ error })), interrupted.promise])
    if ('error' in outcome) {
      // An interrupt may show itself as the failure of a program that the cell was running; we hear of it in the next turn.
      await new Promise((resolve) => setImmediate(resolve))
      const told = describe(outcome, code, name)
      send({ op: 'error', cell, ...told, ...(heard() > before ? INTERRUPT : {}) })
    } else if (outcome.interrupted) send({ op: 'error', cell, ...INTERRUPT, traceback: [] })
    running = undefined
    send({ op: 'done', cell })
  }

  /** Runs a cell and shows its value. */
  const run = async (code, name) => {
    let text
    try {
      text = rewrite(language === 'typescript' ? stripTypes(code) : code)
    } catch (error) {
      return { error }
    }
    const outcome = await evaluator.evaluate(text, name)
    if (!('value' in outcome)) return outcome
    try {
      // Whoever calls an asynchronous function at the end of a cell wants to see how it went.
      const value = types.isPromise(outcome.value) ? await outcome.value : outcome.value
      if (value !== undefined) show(await formatValue(value))
      return {}
    } catch (error) {
      return { error }
    }
  }

  const reader = new Worker(join(__dirname, 'reader.cjs'), {
    workerData: { shared: shared.buffer, fields, fd: CHANNEL },
    execArgv: [],
    stdin: false,
  })
  reader.on('message', (message) => {
    if (message.op === 'online') send({ op: 'ready', tellInterrupts: true })
    else if (message.op === 'execute') void execute(message)
    else {
      Atomics.store(shared, fields.ANSWERED, message.number)
      running?.interrupt()
    }
  })
}

/** What cells find without importing it. */
function defineGlobals(display) {
  const define = (name, value, enumerable = true) =>
    Object.defineProperty(globalThis, name, { value, enumerable, writable: true, configurable: true })
  define('display', display)
  define('module', { exports: {}, children: [] })
  define('exports', globalThis.module.exports)
  // From a script in the current directory, wherever that is by then.
  const importFrom = (filename) =>
    vm.runInThisContext('(name, options) => import(name, options)', {
      filename,
      importModuleDynamically: vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
    })
  define(IMPORT, (name, options) => quietly(() => importFrom(here())(name, options)), false)
  Object.defineProperty(globalThis, META, {
    get: () => ({ url: pathToFileURL(here()).href, filename: here(), dirname: process.cwd() }),
    configurable: true,
  })
}

let locatedAt

/** Lets `require` look where the cell is. */
function locateModules() {
  if (locatedAt === process.cwd()) return
  locatedAt = process.cwd()
  globalThis.require = createRequire(here())
  globalThis.__dirname = locatedAt
  globalThis.__filename = here()
}

function here() {
  return join(process.cwd(), 'cell.js')
}

/** TypeScript without its types, in the same places; what makes code of types, such as an enum, takes other lines. */
function stripTypes(code) {
  return quietly(() => {
    try {
      return moduleTools.stripTypeScriptTypes(code, { mode: 'strip' })
    } catch (error) {
      if (error.code !== 'ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX') throw error
      return moduleTools.stripTypeScriptTypes(code, { mode: 'transform' })
    }
  })
}

/** Without Node's warnings that what is used here may change. */
function quietly(act) {
  const { emitWarning } = process
  process.emitWarning = () => {}
  try {
    return act()
  } finally {
    process.emitWarning = emitWarning
  }
}

/** Name, message and stack of what was thrown, without what is the kernel's own. */
function describe({ error, place }, code, name) {
  if (!types.isNativeError(error)) {
    const shown = shorten(inspect(error))
    return { ename: 'Error', evalue: shown, traceback: [`Uncaught ${shown}`] }
  }
  const ename = String(error.name)
  const evalue = shorten(String(error.message))
  const message = `${ename}: ${evalue}`
  let lines = place ? pointAt(place, code, name, message) : stackOf(error)
  // It shows the place itself, and then where in Node it was found.
  if (error.code === 'ERR_INVALID_TYPESCRIPT_SYNTAX')
    lines = [`${name}${lines[0]}`, ...lines.slice(1, lines.indexOf('')), message]
  return { ename, evalue, traceback: lines.slice(0, MAX_TRACEBACK_LINES).map(shorten) }
}

/** The stack up to where the cell was called from, and those of its causes. */
function stackOf(error, depth = 0) {
  const lines = String(error.stack ?? error).split('\n')
  const last = lines.findLastIndex((line) => /^\s+at .*\bcell_\d+\.[jt]s:/.test(line))
  const own = last < 0 ? lines : lines.slice(0, last + 1)
  if (error.cause === undefined || depth === MAX_CAUSES) return own
  const cause = types.isNativeError(error.cause) ? stackOf(error.cause, depth + 1) : [inspect(error.cause)]
  return [...own, `Caused by: ${cause[0]}`, ...cause.slice(1)]
}

function pointAt({ line, column }, code, name, message) {
  const text = code.split('\n')[line]
  const shown = text === undefined ? [] : [text, `${' '.repeat(column)}^`]
  return [`${name}:${line + 1}`, ...shown, message]
}

function shorten(text) {
  return text.length <= MAX_MESSAGE
    ? text
    : `${text.slice(0, MAX_MESSAGE)}… (${text.length - MAX_MESSAGE} characters more)`
}

module.exports = { startKernel }
