// Tables and figures as the libraries make them that are used most, and IPython where it is installed.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { pythonWith } from '../../support/python-sdk.ts'
import { type Daemon, startDaemon } from '../daemon.ts'
import { skipUnless } from './needs.ts'
import { type CodeEvent, createContext, errorOf, resultsOf, runCode, stdoutOf, typesOf } from './run.ts'

const PACKAGES = ['numpy==2.3.5', 'pandas==2.3.3', 'matplotlib==3.10.7', 'ipython==9.6.0']
const PNG = Buffer.from('\x89PNG', 'latin1')

const python = await pythonWith(...PACKAGES).catch((error: unknown) => String(error))
const isThere = python.startsWith('/')

describe('data', () => {
  skipUnless(isThere, `pip cannot install ${PACKAGES.join(', ')}`)
  let execd: Daemon
  let id: string
  beforeAll(async () => {
    if (!isThere) return
    execd = await startDaemon()
    const bin = python.replace(/\/python$/, '')
    id = await createContext(execd, 'python', undefined, { PATH: `${bin}:/usr/bin:/bin` })
    // The first import compiles them.
    await runCode(execd, id, 'import numpy as np\nimport pandas as pd\nimport matplotlib.pyplot as plt')
  }, 400_000)
  afterAll(() => execd?.[Symbol.asyncDispose]())

  const run = (code: string) => runCode(execd, id, code)
  const imagesOf = (events: CodeEvent[]): Buffer[] =>
    events.flatMap(({ results }) => {
      const image = results?.['image/png']
      return image ? [Buffer.from(image, 'base64')] : []
    })

  test('arrays are text', async () => {
    expect(resultsOf(await run('np.arange(6).reshape(2, 3)'))).toEqual([
      'array([[0, 1, 2],\n       [3, 4, 5]])',
    ])
  })

  test('tables are text and HTML', async () => {
    const events = await run('table = pd.DataFrame({"a": [1, 2], "b": ["x", "y<"]})\ntable')
    const results = events.find(({ type }) => type === 'result')?.results
    expect(results?.text).toBe('   a   b\n0  1   x\n1  2  y<')
    expect(results?.['text/html']).toContain('<td>y&lt;</td>')
    expect(resultsOf(await run('table["a"].sum(), table.shape'))).toEqual(['(np.int64(3), (2, 2))'])
  })

  test('a large table is shown in short', async () => {
    const events = await run('pd.DataFrame(np.zeros((1_000_000, 30)))')
    const results = events.find(({ type }) => type === 'result')?.results
    expect(results?.text).toContain('[1000000 rows x 30 columns]')
    expect(results?.['text/html']?.length).toBeLessThan(200_000)
  })

  test('J1: figures are results at the end of their cell, and are then closed', async () => {
    const events = await run('plt.plot([1, 2, 3])\nplt.title("t")\nprint("drawn");')
    expect(errorOf(events)).toBeUndefined()
    expect(typesOf(events).slice(2, -1)).toEqual(['stdout', 'result'])
    const [image] = imagesOf(events)
    expect(image?.subarray(0, 4).equals(PNG)).toBe(true)
    expect(resultsOf(events)).toEqual(['<Figure size 640x480 with 1 Axes>'])
    expect(resultsOf(await run('plt.get_fignums()'))).toEqual(['[]'])
  })

  test('J1: plt.show() shows them where it stands, once', async () => {
    const events = await run('plt.plot([1])\nplt.show()\nprint("between")\nplt.plot([2])\nplt.show();')
    expect(typesOf(events).slice(2, -1)).toEqual(['result', 'stdout', 'result'])
    expect(imagesOf(events)).toHaveLength(2)
  })

  test('a figure that is the value of its cell is there once', async () => {
    expect(imagesOf(await run('figure, axes = plt.subplots()\naxes.plot([1, 2])\nfigure'))).toHaveLength(1)
    expect(imagesOf(await run('table.plot(kind="bar")\nplt.gcf()'))).toHaveLength(1)
  })

  test('a figure without pyplot is shown as a value, and `figure.show()` shows one', async () => {
    const code =
      'from matplotlib.figure import Figure\nfigure = Figure()\nfigure.add_subplot().plot([1])\nfigure'
    expect(imagesOf(await run(code))).toHaveLength(1)
    expect(imagesOf(await run('figure, axes = plt.subplots()\naxes.plot([1])\nfigure.show()'))).toHaveLength(
      1,
    )
  })

  test('a cell that fails shows what it had drawn', async () => {
    const events = await run('plt.plot([1])\n1 / 0')
    expect(imagesOf(events)).toHaveLength(1)
    expect(errorOf(events)?.ename).toBe('ZeroDivisionError')
    expect(resultsOf(await run('plt.get_fignums()'))).toEqual(['[]'])
  })

  test('a figure that cannot be drawn is an error of its cell', async () => {
    expect(errorOf(await run('plt.title("$\\\\nosuch$");'))?.ename).toBe('ValueError')
    expect(resultsOf(await run('plt.get_fignums()'))).toEqual(['[]'])
  })

  test('another backend that the code asks for is left alone', async () => {
    const fresh = await createContext(execd, 'python', undefined, {
      PATH: `${python.replace(/\/python$/, '')}:/usr/bin:/bin`,
      MPLBACKEND: 'agg',
    })
    const events = await runCode(
      execd,
      fresh,
      'import matplotlib.pyplot as plt\nplt.plot([1])\nplt.get_backend()',
    )
    expect([imagesOf(events).length, resultsOf(events)]).toEqual([0, ["'agg'"]])
    const child =
      'import subprocess, sys\nprint(subprocess.check_output([sys.executable, "-c", "import matplotlib.pyplot as p; print(p.get_backend())"], text=True))'
    expect(stdoutOf(await run(child))).toMatch(/agg/i)
  })

  test('J1: display of IPython shows, in order', async () => {
    const code = `
from IPython.display import display, HTML, Markdown, clear_output, update_display
print("a")
display(HTML("<b>x</b>"), Markdown("*m*"))
clear_output()
print("b")
display(table, display_id="one")
import IPython
IPython.get_ipython() is None`
    const events = await run(code)
    expect(errorOf(events)).toBeUndefined()
    expect(typesOf(events).slice(2, -1)).toEqual(['stdout', 'result', 'result', 'stdout', 'result', 'result'])
    const [html, markdown, shown] = events.flatMap(({ results }) => (results ? [results] : []))
    expect(html?.['text/html']).toBe('<b>x</b>')
    expect(markdown?.['text/markdown']).toBe('*m*')
    expect(shown?.['text/html']).toContain('<table')
  })
})
