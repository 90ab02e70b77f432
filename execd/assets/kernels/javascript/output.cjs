// Standard output and error, written at once and whole: what a cell prints stands before what the programs print that it runs
// next, and nothing is lost at an exit.

'use strict'

const { Console } = require('node:console')
const { writeSync } = require('node:fs')
const { Writable } = require('node:stream')

const RETRY_MS = 2
const sleeper = new Int32Array(new SharedArrayBuffer(4))

/** Puts our streams in the place of those of the process. `beforeWrite` is told which is about to be written. */
function replaceOutput(beforeWrite) {
  for (const [fd, name] of [
    [1, 'stdout'],
    [2, 'stderr'],
  ]) {
    const stream = new Writable()
    // Nothing is kept in between: a write that an interrupt ends in the middle would else keep all later ones waiting for it.
    stream.write = (chunk, encoding, callback) => {
      const bytes = typeof chunk === 'string' ? Buffer.from(chunk, toEncoding(encoding)) : chunk
      if (!ArrayBuffer.isView(bytes))
        throw new TypeError(`Only a text or bytes can be written: found ${typeof chunk}`)
      beforeWrite(fd)
      writeAll(fd, bytes)
      const done = typeof encoding === 'function' ? encoding : callback
      if (done) process.nextTick(done)
      return true
    }
    // Ended, it would be missing to the next cell.
    stream.end =
      stream.destroy =
      stream.destroySoon =
        (chunk, encoding, callback) => {
          if (typeof chunk === 'string' || ArrayBuffer.isView(chunk)) stream.write(chunk, encoding, callback)
          return stream
        }
    Object.assign(stream, { fd, _type: 'pipe', isTTY: false })
    Object.defineProperty(process, name, { configurable: true, enumerable: true, get: () => stream })
  }
  globalThis.console = new Console({ stdout: process.stdout, stderr: process.stderr })
}

/** Writes all of it, also to a descriptor that is non-blocking, as one shared with others may be. */
function writeAll(fd, bytes) {
  let at = 0
  while (at < bytes.byteLength) {
    try {
      at += writeSync(fd, bytes, at)
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error
      Atomics.wait(sleeper, 0, 0, RETRY_MS)
    }
  }
}

function toEncoding(encoding) {
  return typeof encoding === 'string' ? encoding : 'utf8'
}

module.exports = { replaceOutput, writeAll }
