// Our own kernel of Python, by the Python of this machine, or by those whose programs OPENSANDBOX_TEST_PYTHONS names.

import { execFileSync } from 'node:child_process'
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Daemon, startDaemon, until } from '../daemon.ts'
import {
  createContext,
  errorOf,
  followCode,
  interrupt,
  resultsOf,
  runCode,
  stdoutOf,
  textsOf,
  typesOf,
} from './run.ts'

const PROGRAMS = process.env.OPENSANDBOX_TEST_PYTHONS?.split(':') ?? ['/usr/bin/python3']

const versionOf = (program: string): number[] =>
  execFileSync(program, ['-c', 'import sys; print(*sys.version_info[:2])'], { encoding: 'utf8' })
    .split(' ')
    .map(Number)

describe.each(PROGRAMS)('Python (%s)', (program) => {
  const [major = 3, minor = 0] = versionOf(program)
  const isSince = (wanted: number) => major === 3 && minor >= wanted
  let execd: Daemon
  let python: string
  beforeAll(async () => {
    execd = await startDaemon({ env: { PATH: '/usr/bin:/bin', HOME: '/tmp' } })
    const bin = join(execd.workdir, 'bin')
    mkdirSync(bin, { recursive: true })
    symlinkSync(program, join(bin, 'python3'))
    python = await createContext(execd, 'python', execd.workdir, { PATH: `${bin}:/usr/bin:/bin` })
  })
  afterAll(() => execd?.[Symbol.asyncDispose]())

  const run = (code: string) => runCode(execd, python, code)

  describe('values', () => {
    test.each([
      ['2 + 2', ['4']],
      ['2 + 2;', []],
      ['x = 3', []],
      ['None', []],
      ['"a\\nb"', ["'a\\nb'"]],
      ['def f(): return 1', []],
      ['# nothing', []],
      ['', []],
      ['for i in range(2): i', []],
      ['[n * n for n in range(3)]', ['[0, 1, 4]']],
      ['x = 1; x + 1', ['2']],
      ['if True:\n    5', []],
    ])('%j shows %j', async (code, results) => {
      const events = await run(code || '\n')
      expect(errorOf(events)).toBeUndefined()
      expect(resultsOf(events)).toEqual(results)
    })

    test('the last one is `_`', async () => {
      await run('20 + 1')
      expect(resultsOf(await run('_ * 2'))).toEqual(['42'])
    })

    test('J7: are counted from 1 on, one per cell, also when it only prints', async () => {
      const fresh = await createContext(execd, 'python')
      for (const count of [1, 2]) {
        const events = await runCode(execd, fresh, 'print("only output")')
        expect(events.filter(({ type }) => type === 'execution_count')).toMatchObject([
          { execution_count: count },
        ])
      }
      await execd.call(`/code/contexts/${fresh}`, { method: 'DELETE' })
    })

    test('have rich forms, and one that fails is left out with its traceback', async () => {
      await run(`
class Rich:
    def __repr__(self): return "plain"
    def _repr_html_(self): return "<i>html</i>"
    def _repr_svg_(self): return "<svg/>"
    def _repr_png_(self): return b"\\x89PNG"
    def _repr_jpeg_(self): return b"jpeg"
    def _repr_latex_(self): return ("$x$", {"metadata": 1})
    def _repr_json_(self): return {"a": [1]}
    def _repr_markdown_(self): raise ValueError("no markdown")
class Bundle:
    def _repr_mimebundle_(self, include=None, exclude=None): return {"text/plain": "p", "application/x": {"b": 2}}`)
      const rich = await run('Rich()')
      expect(rich.find(({ type }) => type === 'result')?.results).toEqual({
        text: 'plain',
        'text/plain': 'plain',
        'text/html': '<i>html</i>',
        'image/svg+xml': '<svg/>',
        'image/png': Buffer.from('\x89PNG', 'latin1').toString('base64'),
        'text/latex': '$x$',
        'application/json': '{"a": [1]}',
      })
      expect(textsOf(rich, 'stderr')).toContain('ValueError: no markdown')
      const bundle = await run('Bundle()')
      expect(bundle.find(({ type }) => type === 'result')?.results).toEqual({
        text: 'p',
        'text/plain': 'p',
        'application/x': '{"b": 2}',
      })
    })

    test('that claim to have every attribute are shown by their repr', async () => {
      const code =
        'class Any:\n    def __getattr__(self, name): return lambda *a, **k: "any"\n    def __repr__(self): return "Any"\n'
      expect((await run(`${code}Any()`)).find(({ type }) => type === 'result')?.results).toEqual({
        text: 'Any',
        'text/plain': 'Any',
      })
    })

    test('of any size come back, cut where they are too long', async () => {
      const events = await run('"x" * 10000000')
      expect(resultsOf(events)[0]).toMatch(/^'x{100000,}… \(\d+ characters more\)/)
    })
  })

  describe('the namespace', () => {
    test('is __main__: pickles, dataclasses and types find what cells define', async () => {
      const code = `
import pickle, typing, sys
class Point:
    def __init__(self, x: int): self.x = x
    def __eq__(self, other): return self.x == other.x
def twice(n): return 2 * n
print(pickle.loads(pickle.dumps(Point(3))) == Point(3), pickle.loads(pickle.dumps(twice))(4), Point.__module__, __name__)
sys.modules["__main__"].twice is twice`
      const events = await run(code)
      expect(stdoutOf(events)).toBe('True 8 __main__ __main__\n')
      expect(resultsOf(events)).toEqual(['True'])
    })

    test('finds modules in the current directory, and source of what cells define', async () => {
      writeFileSync(join(execd.workdir, 'my_module.py'), 'value = 5\n')
      expect(resultsOf(await run('import my_module\nmy_module.value'))).toEqual(['5'])
      await run('def shown(a):\n    return a + 1')
      expect(resultsOf(await run('import inspect\ninspect.getsource(shown)'))).toEqual([
        "'def shown(a):\\n    return a + 1'",
      ])
      expect(resultsOf(await run('import sys\nsys.argv, sys.path[0]'))).toEqual(["([''], '')"])
    })

    test.runIf(isSince(7))('keeps `from __future__ import`', async () => {
      const fresh = await createContext(execd, 'python')
      await runCode(execd, fresh, 'from __future__ import annotations')
      expect(resultsOf(await runCode(execd, fresh, 'def f(a: Undefined): pass\nf.__annotations__'))).toEqual([
        "{'a': 'Undefined'}",
      ])
    })

    test.runIf(isSince(8))('has top-level await, and tasks that go on between cells', async () => {
      expect(resultsOf(await run('import asyncio\nawait asyncio.sleep(0, 7)'))).toEqual(['7'])
      await run(`
ticks = 0
async def tick():
    global ticks
    while True:
        await asyncio.sleep(0.005)
        ticks += 1
task = asyncio.ensure_future(tick())
await asyncio.sleep(0)`)
      await until(async () => Number(resultsOf(await run('ticks'))[0]) > 3, 'the ticks')
      expect(resultsOf(await run('async def f(): return 9\nasyncio.run(f())'))).toEqual(['9'])
      expect(resultsOf(await run('task.cancel()'))).toEqual(['True'])
    })
  })

  describe('output', () => {
    test('of a cell and of its children keeps its order, across both streams', async () => {
      const events = await run(`
import os, sys, subprocess
print("1 cell")
os.system("echo 2 child")
print("3 cell")
print("4 error", file=sys.stderr)
sys.stdout.write("5 no newline")
subprocess.run(["sh", "-c", "echo; echo 6 child"])
os.write(1, b"7 descriptor\\n")
sys.stdout.buffer.write(b"8 buffer\\n")
print("9 error", file=sys.stderr);`)
      const all: [string, string][] = []
      for (const { type, text = '' } of events.filter((event) => event.type.startsWith('std'))) {
        const last = all.at(-1)
        if (last?.[0] === type) last[1] += text
        else all.push([type, text])
      }
      expect(all).toEqual([
        ['stdout', '1 cell\n2 child\n3 cell\n'],
        ['stderr', '4 error\n'],
        ['stdout', '5 no newline\n6 child\n7 descriptor\n8 buffer\n'],
        ['stderr', '9 error\n'],
      ])
    })

    test('of any bytes is text, with a sign for what is none', async () => {
      await run('import sys, os, base64')
      await fc.assert(
        fc.asyncProperty(
          fc.oneof(
            fc.uint8Array({ maxLength: 300 }),
            fc.string({ unit: 'binary' }).map((text) => Buffer.from(text)),
          ),
          async (bytes) => {
            const data = Buffer.from(bytes).toString('base64')
            const events = await run(`os.write(1, base64.b64decode("${data}"));`)
            expect(stdoutOf(events)).toBe(Buffer.from(bytes).toString('utf8'))
          },
        ),
        { numRuns: 50 },
      )
    })

    test('of any text arrives as it is', async () => {
      await fc.assert(
        fc.asyncProperty(fc.string({ unit: 'grapheme', maxLength: 200 }), async (text) => {
          const events = await run(`print(${JSON.stringify(text)}, end="")`)
          expect(stdoutOf(events)).toBe(text)
        }),
        { numRuns: 50 },
      )
    })

    test('by print has all that print can do', async () => {
      const code = `
import io, pickle
print("a", 1, sep="-", end="!"); print(); print(sep=None, end=None); print("x", flush=True)
text = io.StringIO(); print("in", "text", file=text)
pickle.loads(pickle.dumps(print))(text.getvalue() == "in text\\n")
print(1, sep=2)`
      const events = await run(code)
      expect(stdoutOf(events)).toBe('a-1!\n\nx\nTrue\n')
      expect(errorOf(events)).toMatchObject({ ename: 'TypeError' })
    })

    test('of lone surrogates is told and does not fail', async () => {
      expect(stdoutOf(await run('print("a\\udc80b")'))).toBe('a\\udc80b\n')
      const events = await run('raise ValueError("\\ud800")')
      expect(errorOf(events)?.evalue).toBe('\ufffd')
    })

    test('of threads of the cell is the cell’s', async () => {
      const code = `
import threading
threads = [threading.Thread(target=lambda n=n: print("thread", n)) for n in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()`
      const lines = stdoutOf(await run(code))
        .trim()
        .split('\n')
        .sort()
      expect(lines).toEqual(['thread 0', 'thread 1', 'thread 2'])
    })

    test('goes on after a child has made the pipe non-blocking', async () => {
      const code = `
import fcntl, os
flags = fcntl.fcntl(1, fcntl.F_GETFL)
fcntl.fcntl(1, fcntl.F_SETFL, flags | os.O_NONBLOCK)
print("x" * 1000000)
fcntl.fcntl(1, fcntl.F_SETFL, flags);`
      expect(stdoutOf(await run(code)).length).toBe(1_000_001)
    })
  })

  describe('errors', () => {
    test('have the lines of the cell, and nothing of the kernel', async () => {
      const events = await run(
        'def outer():\n    return inner()\n\ndef inner():\n    return 1 / 0\n\nouter()',
      )
      const traceback = errorOf(events)?.traceback ?? []
      expect(traceback[0]).toBe('Traceback (most recent call last):')
      expect(traceback.filter((line) => line.includes('File "'))).toEqual([
        expect.stringMatching(/^ {2}File "<cell \d+>", line 7, in <module>$/),
        expect.stringMatching(/^ {2}File "<cell \d+>", line 2, in outer$/),
        expect.stringMatching(/^ {2}File "<cell \d+>", line 5, in inner$/),
      ])
      expect(traceback).toContain('    return inner()')
      expect(traceback.join('\n')).not.toContain('opensandbox_kernel')
      expect(traceback.at(-1)).toBe('ZeroDivisionError: division by zero')
    })

    test('J11: have no codes of terminals, whatever the environment says', async () => {
      const fresh = await createContext(execd, 'python', execd.workdir, {
        FORCE_COLOR: '1',
        PYTHON_COLORS: '1',
      })
      for (const code of ['1 / 0', 'x = = 1', 'raise ValueError("\\x1b[31mred")']) {
        const { traceback = [] } = errorOf(await runCode(execd, fresh, code)) ?? {}
        expect(traceback.slice(0, -1).join('\n')).not.toContain('\x1b')
      }
      await execd.call(`/code/contexts/${fresh}`, { method: 'DELETE' })
    })

    test('of earlier cells show the lines of those', async () => {
      await run('def broken():\n    raise KeyError("old")')
      const { traceback = [] } =
        errorOf(
          await run('try:\n    broken()\nexcept KeyError as e:\n    raise RuntimeError("new") from e'),
        ) ?? {}
      expect(traceback).toContain('    raise KeyError("old")')
      expect(traceback.join('\n')).toContain('The above exception was the direct cause')
    })

    test('of syntax show the place, and nothing of the cell is run', async () => {
      const events = await run('print("not run")\nx = = 1')
      expect(stdoutOf(events)).toBe('')
      expect(errorOf(events)?.ename).toBe('SyntaxError')
      const { traceback = [] } = errorOf(events) ?? {}
      expect(traceback.join('\n')).toMatch(/File "<cell \d+>", line 2\n\s+x = = 1\n\s+\^/)
    })

    test.each([
      ['raise SystemExit(2)', 'SystemExit', '2'],
      ['import sys\nsys.exit("words")', 'SystemExit', 'words'],
      ['exit(3)', 'SystemExit', '3'],
      [
        'input("name? ")',
        'EOFError',
        "input() cannot be answered here: there is nobody to ask (prompt: 'name? ')",
      ],
      ['def f(): return f()\nf()', 'RecursionError', 'maximum recursion depth exceeded'],
      [
        'class E(Exception):\n    def __str__(self): raise ValueError\nraise E()',
        'E',
        '<its message cannot be told: ValueError>',
      ],
      ['raise ValueError("x" * 1000000)', 'ValueError', 'x'.repeat(1000)],
      ['class R:\n    def __repr__(self): raise OSError("no repr")\nR()', 'OSError', 'no repr'],
      ['return 1', 'SyntaxError', "'return' outside function"],
    ])('%j is %s', async (code, ename, evalue) => {
      await run('kept = 1')
      const error = errorOf(await run(code))
      expect(error?.ename).toBe(ename)
      expect(error?.evalue.startsWith(evalue)).toBe(true)
      expect(resultsOf(await run('kept'))).toEqual(['1'])
    })

    test.each(['exit()', 'quit()', 'import sys\nsys.exit(0)'])(
      '%j ends the cell without one',
      async (code) => {
        const events = await run(`print("a")\n${code}\nprint("b")`)
        expect(errorOf(events)).toBeUndefined()
        expect(stdoutOf(events)).toBe('a\n')
      },
    )
  })

  describe('children', () => {
    test('by fork do not answer in the place of the kernel', async () => {
      const code = `
import os
pid = os.fork()
if pid: os.waitpid(pid, 0)
print("parent" if pid else "child")
pid != 0`
      const events = await run(code)
      // The child shows its value where it can.
      expect(stdoutOf(events).split('\n').sort()).toEqual(['', 'False', 'child', 'parent'])
      expect(resultsOf(events)).toEqual(['True'])
      expect(typesOf(events).filter((type) => type === 'execution_complete')).toHaveLength(1)
    })

    test('by multiprocessing work, and what they display is printed', async () => {
      const code = `
import multiprocessing
def work(n):
    display("shown")
    return n * n
with multiprocessing.get_context("fork").Pool(2) as pool:
    squares = pool.map(work, range(3))
squares`
      const events = await run(code)
      expect(resultsOf(events)).toEqual(['[0, 1, 4]'])
      expect(stdoutOf(events)).toBe("'shown'\n".repeat(3))
    })

    test('do not get the channel', async () => {
      const code =
        'import subprocess\nsubprocess.run("echo x >&3", shell=True, stderr=subprocess.DEVNULL).returncode != 0'
      expect(resultsOf(await run(code))).toEqual(['True'])
    })

    test('in the background neither hold a cell nor die of their output', async () => {
      const flag = join(execd.workdir, 'server-lives')
      const events = await run(
        `import subprocess\nserver = subprocess.Popen("sleep 0.3; echo log; touch ${flag}; sleep 60", shell=True)`,
      )
      expect(typesOf(events).at(-1)).toBe('execution_complete')
      await until(async () => resultsOf(await run(`os.path.exists("${flag}")`))[0] === 'True', 'the server')
      await run('server.kill()')
    })
  })

  describe('interrupts', () => {
    test.each<[string, string]>([
      ['a loop', 'while True: pass'],
      ['a wait', 'import time\ntime.sleep(60)'],
      ['a child', 'import subprocess\nsubprocess.run(["sleep", "60"])'],
      ...(isSince(8)
        ? [['an await', 'import asyncio\nawait asyncio.sleep(60)'] satisfies [string, string]]
        : []),
      ['endless output', 'while True: print("x")'],
    ])('end %s', async (_what, code) => {
      await run('kept = 1')
      const live = await followCode(execd, python, code)
      await live.see(({ type }) => type === 'execution_count')
      expect(await interrupt(execd, python)).toBe(200)
      expect(errorOf(await live.end)?.ename).toBe('KeyboardInterrupt')
      expect(resultsOf(await run('kept'))).toEqual(['1'])
    })

    test('can be caught, and are not there twice', async () => {
      const code =
        'import time\ntry:\n    print("go")\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    print("caught")\n"on"'
      const live = await followCode(execd, python, code)
      await live.see(({ type }) => type === 'stdout')
      await interrupt(execd, python)
      const events = await live.end
      expect(stdoutOf(events)).toBe('go\ncaught\n')
      expect(resultsOf(events)).toEqual(["'on'"])
      expect(errorOf(events)).toBeUndefined()
    })
  })

  describe('lines of notebooks', () => {
    test('with commands run them, in order with the rest', async () => {
      const events = await run('print("a")\n!echo "b $((1 + 1))"\nif True:\n    !echo c\nprint("d")')
      expect(errorOf(events)).toBeUndefined()
      expect(stdoutOf(events)).toBe('a\nb 2\nc\nd\n')
    })

    test('that prepare what is so anyway do nothing, and %cd and %pip work', async () => {
      const events = await run('%matplotlib inline\n%cd /\nimport os\nos.getcwd()')
      expect(resultsOf(events)).toEqual(["'/'"])
      await run(`%cd ${execd.workdir}`)
      expect(stdoutOf(await run('%pip --version'))).toMatch(/^pip \d+/)
    })

    test('that are not there say so', async () => {
      expect(errorOf(await run('%timeit 1'))?.evalue).toContain('%timeit is not available here')
      expect(errorOf(await run('%%bash\nls'))?.evalue).toContain('%%bash is not available here')
    })

    test('do not change what is Python', async () => {
      expect(resultsOf(await run('text = """\n!echo\n%pip\n"""\n(7\n%4, text)'))).toEqual([
        "(3, '\\n!echo\\n%pip\\n')",
      ])
    })
  })

  test('IPython.display has a stand-in for cells, and for nobody else', async () => {
    const code =
      'from IPython.display import display, HTML, Image, Markdown, clear_output\nclear_output()\ndisplay(HTML("<p>"), Markdown("# m"))\nImage(data=b"\\x89PNG")'
    const events = await run(code)
    expect(errorOf(events)).toBeUndefined()
    const results = events.flatMap(({ results }) => (results ? [results] : []))
    expect(
      results.map((one) => Object.keys(one).filter((mime) => mime !== 'text' && mime !== 'text/plain')),
    ).toEqual([['text/html'], ['text/markdown'], ['image/png']])
    // A module that asks for it, to learn whether it is in a notebook.
    writeFileSync(
      join(execd.workdir, 'asks.py'),
      'try:\n    import IPython\n    found = True\nexcept ImportError:\n    found = False\n',
    )
    const fresh = await createContext(execd, 'python', execd.workdir, { PATH: '/usr/bin:/bin' })
    expect(resultsOf(await runCode(execd, fresh, 'import asks\nasks.found'))).toEqual(['False'])
  })
})
