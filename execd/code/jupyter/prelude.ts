// What a kernel is told before its first cell: where it is and which variables it has. A Jupyter server starts kernels in
// its own directory or below, and with its own environment; a context names both.

import type { Language } from '../engine.ts'

export type Place = { cwd: string; env: Record<string, string> }

/** Code that takes a kernel to its place, or undefined for a language that has no way to go there. */
export function preludeFor(language: Language, { cwd, env }: Place): string | undefined {
  switch (language) {
    case 'python':
      // A literal of JSON is one of Python too. No name is left behind.
      return `__import__('os').chdir(${quote(cwd)})\n__import__('os').environ.update(${quote(env)})`
    case 'javascript':
    case 'typescript':
      // As a text, so that no compiler has to know what `process` is.
      return `eval(${quote(enterInJavascript(quote(cwd), quote(env)))})`
    case 'bash':
      return [
        `cd -- ${shellQuote(cwd)}`,
        ...Object.entries(env)
          .filter(([name]) => /^[A-Za-z_]\w*$/.test(name))
          .map(([name, value]) => `export ${name}=${shellQuote(value)}`),
      ].join('\n')
    case 'go':
      return `%cd ${cwd}`
    case 'java':
      // A Java program cannot leave the directory that it was started in.
      return undefined
  }
}

function quote(value: unknown): string {
  return JSON.stringify(value)
}

function shellQuote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`
}

function enterInJavascript(cwd: string, env: string): string {
  return `process.chdir(${cwd}); Object.assign(process.env, ${env}); undefined`
}
