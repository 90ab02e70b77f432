// Runs code as the console of a debugger does: declarations last and can be made again, `await` may stand anywhere, and the value
// is that of the last statement.

'use strict'

const { Session } = require('node:inspector')
const { promiseHooks } = require('node:v8')
const { redeclare } = require('./rewrite.cjs')

const MAX_REDECLARED = 100
const DECLARED = /^Identifier '([^']+)' has already been declared$/

/** `evaluate(code, name)` gives `{ value }`, `{ error, place }` or `{ interrupted: true }`; `abandon` ends one that waits. */
class Evaluator {
  #session
  #taker
  #taken
  /** Lets go of the promises that are kept for the code that runs. */
  #stopKeeping = () => {}

  constructor() {
    this.#connect()
  }

  async evaluate(code, name) {
    let text = code
    this.#keepPromises(code)
    for (let round = 0; ; round++) {
      let answer
      try {
        answer = await this.#run(text, name)
      } catch {
        // The debugger refuses nothing else: the execution was ended, or has been abandoned.
        return { interrupted: true }
      } finally {
        this.#stopKeeping()
      }
      try {
        if (!answer.exceptionDetails) return await this.#boxed(answer.result)
        const { value: error } = await this.#boxed(answer.exceptionDetails.exception ?? answer.result)
        const declared = error instanceof SyntaxError ? DECLARED.exec(error.message)?.[1] : undefined
        const changed = declared && round < MAX_REDECLARED ? redeclare(text, declared) : undefined
        if (changed === undefined) return { error, place: placeOf(answer.exceptionDetails, error) }
        text = changed
      } finally {
        // Else it would keep every value alive.
        this.#session.post('Runtime.releaseObjectGroup', { objectGroup: 'cell' })
      }
    }
  }

  /** Waits no longer for what runs. What was declared stays. */
  abandon() {
    this.#stopKeeping()
    this.#session.disconnect()
    this.#connect()
  }

  #connect() {
    this.#session = new Session()
    this.#session.connect()
    // The debugger names values by handles; this function is how we get the values themselves.
    globalThis.__take__ = (value) => {
      this.#taken = value
    }
    this.#taker = this.#post('Runtime.evaluate', { expression: '__take__', objectGroup: 'kernel' })
    delete globalThis.__take__
  }

  /**
   * The debugger tells when nobody can reach any more what the code waits for, as in `await new Promise(() => {})`. It does so in
   * the middle of a garbage collection, where no code may run, and the process dies of it; so all that is pending is reachable.
   */
  #keepPromises(code) {
    if (!code.includes('await')) return
    const pending = new Set()
    const stop = promiseHooks.createHook({
      init: (promise) => pending.add(promise),
      settled: (promise) => pending.delete(promise),
    })
    this.#stopKeeping = () => {
      this.#stopKeeping = () => {}
      stop()
      pending.clear()
    }
  }

  #run(code, name) {
    return this.#post('Runtime.evaluate', {
      expression: `${code}\n//# sourceURL=${name}`,
      replMode: true,
      objectGroup: 'cell',
    })
  }

  /** The value behind a handle, in a box: a promise that is given back from here would be waited for. */
  async #boxed({ objectId, unserializableValue, value }) {
    const argument = objectId ? { objectId } : unserializableValue ? { unserializableValue } : { value }
    const { objectId: taker } = (await this.#taker).result
    await this.#post('Runtime.callFunctionOn', {
      functionDeclaration: 'function (value) { this(value) }',
      objectId: taker,
      arguments: [argument],
    })
    const box = { value: this.#taken }
    this.#taken = undefined
    return box
  }

  #post(method, params) {
    return new Promise((resolve, reject) => {
      this.#session.post(method, params, (error, result) => (error ? reject(error) : resolve(result)))
    })
  }
}

/** Where a text is not JavaScript; other errors have a stack that says so. */
function placeOf({ lineNumber, columnNumber }, error) {
  return error instanceof SyntaxError && !/^ {4}at (?:.*\()?cell_/m.test(error.stack ?? '')
    ? { line: lineNumber, column: columnNumber }
    : undefined
}

module.exports = { Evaluator }
