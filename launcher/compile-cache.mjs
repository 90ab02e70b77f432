// Where Node keeps what it makes of our files: the types taken out of them, and the code that it compiles. A program that is started
// again takes 0.7 s of a processor instead of 1.15 until it runs.

import { join } from 'node:path'

/** The environment for a program of this project. Who has chosen another place keeps it. */
export function withCompileCache(root) {
  return { NODE_COMPILE_CACHE: join(root, 'node_modules/.cache/compiled'), ...process.env }
}
