// Libraries as published on Maven's central repository, and a program in Java that uses them.

import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

export type JavaProgram = { classPath: string; [Symbol.dispose](): void }

/** Compiles `{main}.java` of a folder with the libraries that its `pom.xml` names; Maven keeps them between runs. */
export async function compileJava(folder: string, main: string): Promise<JavaProgram> {
  const out = mkdtempSync(join(tmpdir(), 'java-'))
  const list = join(out, 'classpath')
  const maven = ['--quiet', '--batch-mode', '--file', join(folder, 'pom.xml'), 'dependency:build-classpath']
  await run('mvn', [...maven, `-Dmdep.outputFile=${list}`], { timeout: 300_000, maxBuffer: 1 << 24 })
  const libraries = readFileSync(list, 'utf8').trim()
  await run('javac', ['-d', out, '-cp', libraries, join(folder, `${main}.java`)], { timeout: 120_000 })
  return {
    classPath: `${out}:${libraries}`,
    [Symbol.dispose]: () => rmSync(out, { recursive: true, force: true }),
  }
}
