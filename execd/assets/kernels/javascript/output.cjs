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
    const stream = new Writable({
      decodeStrings: true,
      write: (chunk, _encoding, done) => {
        beforeWrite(fd)
        writeAll(fd, chunk)
        done()
      },
    })
    Object.assign(stream, { fd, _type: 'pipe', isTTY: false })
    // `end` and `destroy` would leave the process without it.
    stream.end = stream.destroySoon = stream._destroy = () => stream
    Object.defineProperty(process, name, { configurable: true, enumerable: true, get: () => stream })
  }
  globalThis.console = new Console({ stdout: process.stdout, stderr: process.stderr })
}

/** Writes all of it, also to a descriptor that is non-blocking, as one shared with others may be. */
function writeAll(fd, bytes) {
  let at = 0
  while (at < bytes.length) {
    try {
      at += writeSync(fd, bytes, at)
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error
      Atomics.wait(sleeper, 0, 0, RETRY_MS)
    }
  }
}

module.exports = { replaceOutput, writeAll }
