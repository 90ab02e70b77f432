// Our own kernel of Java.

import { execFileSync } from 'node:child_process'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { isAlive } from '../../support/edge.ts'
import { type Daemon, startDaemon, until } from '../daemon.ts'
import { hasPrograms, skipUnless } from './needs.ts'
import { createContext, errorOf, resultsOf, runCode, startCode, stdoutOf, textsOf, typesOf } from './run.ts'

const hasJdk = hasPrograms(['java', 'jshell'])

describe('Java', () => {
  skipUnless(hasJdk, 'there is no JDK with jshell')
  let execd: Daemon
  let java: string
  beforeAll(async () => {
    if (!hasJdk) return
    execd = await startDaemon({ env: { PATH: process.env.PATH ?? '', HOME: '/tmp' } })
    java = await createContext(execd, 'java')
  }, 60_000)
  afterAll(() => execd?.[Symbol.asyncDispose]())

  const run = (code: string, id = java) => runCode(execd, id, code)

  test('prints, and shows the value of the last expression', async () => {
    const events = await run('System.out.println("hé漢😀"); System.err.println("err");\n2 + 2')
    expect(stdoutOf(events)).toBe('hé漢😀\n')
    expect(textsOf(events, 'stderr')).toBe('err\n')
    expect(resultsOf(events)).toEqual(['4'])
    expect(typesOf(events).at(-1)).toBe('execution_complete')
  })

  test('keeps variables, methods, classes and imports', async () => {
    await run(
      'import java.nio.charset.StandardCharsets;\nint x = 20;\nint twice(int n) {\n  return 2 * n;\n}',
    )
    await run('record Point(int x, int y) {}')
    expect(resultsOf(await run('twice(x) + 2'))).toEqual(['42'])
    expect(resultsOf(await run('new Point(1, twice(1))'))).toEqual(['Point[x=1, y=2]'])
    expect(
      resultsOf(await run('new String("é".getBytes(StandardCharsets.UTF_8), StandardCharsets.UTF_8)')),
    ).toEqual(['"é"'])
    await run('x = 1')
    expect(resultsOf(await run('twice(x)'))).toEqual(['2'])
  })

  test.each([
    ['2 + 2;', ['4']],
    ['int a = 3', []],
    ['int b = 3; b', ['3']],
    ['b = 4', []],
    ['System.out.print("")', []],
    ['List.of(1, 2).stream().map(n -> n * 2).collect(Collectors.toList())', ['[2, 4]']],
    ['for (int i = 0; i < 3; i++) { }', []],
    ['// nothing', []],
    ['"a\\n"', ['"a\\n"']],
  ])('%j shows %j', async (code, results) => {
    const events = await run(code)
    expect(errorOf(events)).toBeUndefined()
    expect(resultsOf(events)).toEqual(results)
  })

  test('runs a program that is given as a class with a main', async () => {
    const code =
      'public class Main {\n  public static void main(String[] args) {\n    System.out.println("main");\n  }\n}'
    expect(stdoutOf(await run(code))).toBe('main\n')
  })

  test('tells an exception with its name, its text, its place and its cause', async () => {
    expect(errorOf(await run('int r = 10 / 0; // never'))).toMatchObject({
      ename: 'EvalException',
      evalue: 'java.lang.ArithmeticException: / by zero',
    })
    const error = errorOf(await run('throw new IllegalStateException("no", new RuntimeException("why"))'))
    expect(error?.evalue).toBe('java.lang.IllegalStateException: no')
    expect(error?.traceback).toContain('Caused by: java.lang.RuntimeException: why')
  })

  test('tells where in the cell it cannot be compiled, and does not run what follows', async () => {
    const events = await run(
      'System.out.println("first");\n\n  int s = "text";\nSystem.out.println("never");',
    )
    expect(stdoutOf(events)).toBe('first\n')
    expect(errorOf(events)).toMatchObject({ ename: 'CompilationException' })
    expect(errorOf(events)?.evalue).toMatch(/^line 3: incompatible types/)
    expect(errorOf(events)?.traceback).toContain('  int s = "text";')
    expect(errorOf(await run('if (true) {'))?.evalue).toMatch(/^line 1: reached end of file/)
    expect(errorOf(await run('void g() { missing(); }\ng()'))?.evalue).toBe(
      'This is not defined yet: method missing()',
    )
  })

  test.each(['while (true) { }', 'Thread.sleep(600000);'])(
    '%s is interrupted, and all that was defined stays',
    async (code) => {
      await run('int kept = 7;')
      const response = await startCode(execd, java, `System.out.println("started");\n${code}`)
      const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader()
      let text = ''
      while (!text.includes('started')) text += (await reader?.read())?.value
      expect((await execd.call(`/code?id=${java}`, { method: 'DELETE' })).status).toBe(200)
      for (let part = await reader?.read(); !part?.done; part = await reader?.read()) text += part?.value
      expect(text).toContain('KeyboardInterrupt')
      expect(resultsOf(await run('kept'))).toEqual(['7'])
    },
  )

  test('survives a cell that ends the machine, and says what that costs', async () => {
    const id = await createContext(execd, 'java')
    await run('int lost = 1;', id)
    expect(errorOf(await run('System.exit(3);', id))).toMatchObject({ ename: 'SystemExit' })
    expect(errorOf(await run('lost', id))?.evalue).toMatch(/cannot find symbol/)
    expect(resultsOf(await run('1 + 1', id))).toEqual(['2'])
  })

  test('contexts know nothing of each other, and begin where they are told', async () => {
    const other = await createContext(execd, 'java', '/usr')
    expect(resultsOf(await run('System.getProperty("user.dir")', other))).toEqual(['"/usr"'])
    await run('int own = 1;')
    expect(errorOf(await run('own', other))?.evalue).toMatch(/cannot find symbol/)
  })

  test('shows what a process writes that inherits its output, however much that is', async () => {
    const code = 'new ProcessBuilder("sh", "-c", "seq 20000; echo err >&2").inheritIO().start().waitFor()'
    const events = await run(code)
    expect(stdoutOf(events)).toBe(Array.from({ length: 20_000 }, (_, index) => `${index + 1}\n`).join(''))
    expect(textsOf(events, 'stderr')).toBe('err\n')
    expect(resultsOf(events)).toEqual(['0'])
  })

  test('has no input to read', async () => {
    expect(errorOf(await run('new Scanner(System.in).nextLine()'))?.evalue).toMatch(/No line found/)
  })

  test('leaves nothing running when it is deleted', async () => {
    const id = await createContext(execd, 'java')
    const pid = resultsOf(await run('ProcessHandle.current().pid()', id))[0] ?? ''
    expect(execFileSync('ps', ['-p', pid, '-o', 'comm='], { encoding: 'utf8' })).toBe('java\n')
    await execd.call(`/code/contexts/${id}`, { method: 'DELETE' })
    await until(async () => !isAlive(Number(pid)), 'the end of the machine')
  })
})

test('J9: without a JDK a context of Java is refused in words', async () => {
  await using execd = await startDaemon({
    entrypoint: ['/usr/bin/sleep', '1000'],
    env: { PATH: '/nonexistent' },
  })
  await expect(createContext(execd, 'java')).rejects.toThrow(
    /^Cannot make a context: 400 Cannot run java here: there is no "java" in PATH "\/nonexistent"/,
  )
})
