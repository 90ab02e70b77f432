// The pure parts of the Jupyter engine.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { CellEvent, Language } from '../../../execd/code/engine.ts'
import { Cell, plainText } from '../../../execd/code/jupyter/cell.ts'
import { chooseKernel, describeKernels, parseKernelspecs } from '../../../execd/code/jupyter/kernelspecs.ts'
import { formatRequest, type Message, parseMessage } from '../../../execd/code/jupyter/message.ts'
import { preludeFor } from '../../../execd/code/jupyter/prelude.ts'

const message = (type: string, content: Record<string, unknown> = {}): Message => ({
  type,
  content,
  parent: 'p',
  channel: type.endsWith('_reply') ? 'shell' : 'iopub',
})
const idle = message('status', { execution_state: 'idle' })
const ok = message('execute_reply', { status: 'ok', execution_count: 3 })

/** The events of a cell to its end, and whether each message ended it. */
function play(messages: Message[]): { events: CellEvent[]; over: boolean[] } {
  const cell = new Cell()
  const over: boolean[] = []
  const events = messages.flatMap((each) => {
    const taken = cell.take(each)
    over.push(cell.isOver)
    return taken
  })
  return { events: [...events, ...cell.rest()], over }
}

describe('a frame', () => {
  const request = formatRequest({
    id: 'm1',
    type: 'execute_request',
    session: 's1',
    channel: 'shell',
    content: { code: 'x' },
  })

  test('of a request can be read again', () => {
    expect(parseMessage(Buffer.from(request), false)).toEqual({
      type: 'execute_request',
      parent: undefined,
      channel: 'shell',
      content: { code: 'x' },
    })
  })

  test('with binary buffers has its JSON read and the buffers left out', () => {
    const json = Buffer.from(
      JSON.stringify({
        header: { msg_type: 'comm_msg' },
        parent_header: { msg_id: 'p1' },
        channel: 'iopub',
        content: { a: 1 },
      }),
    )
    const head = Buffer.alloc(12)
    head.writeUInt32BE(2, 0)
    head.writeUInt32BE(12, 4)
    head.writeUInt32BE(12 + json.length, 8)
    expect(parseMessage(Buffer.concat([head, json, Buffer.from([1, 2, 3])]), true)).toEqual({
      type: 'comm_msg',
      parent: 'p1',
      channel: 'iopub',
      content: { a: 1 },
    })
  })

  test.each(['', 'null', '[]', '{}', '{"header":1}', '{"header":{}}', '{"header":{"msg_type":3}}', '{'])(
    '%j is no message',
    (text) => {
      expect(parseMessage(Buffer.from(text), false)).toBeUndefined()
    },
  )

  test('of any bytes is read or left, and never throws', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), fc.boolean(), (bytes, isBinary) => {
        const read = parseMessage(Buffer.from(bytes), isBinary)
        expect(read === undefined || typeof read.type === 'string').toBe(true)
      }),
    )
  })
})

describe('a cell', () => {
  test('is over when its reply and its idle are both there, in either order', () => {
    expect(play([ok, idle]).over).toEqual([false, true])
    expect(play([idle, ok]).over).toEqual([false, true])
  })

  test('J5: takes a result that comes after idle, before the reply', () => {
    const late = message('execute_result', { execution_count: 3, data: { 'text/plain': '4' } })
    expect(play([idle, late, ok])).toEqual({
      events: [
        { type: 'execution_count', count: 3 },
        { type: 'result', results: { 'text/plain': '4' } },
      ],
      over: [false, false, true],
    })
  })

  test('J7: has its count told once, as soon as it is known, also when it only prints', () => {
    const { events } = play([
      message('execute_input', { execution_count: 3, code: 'print(1)' }),
      message('stream', { name: 'stdout', text: '1\n' }),
      ok,
    ])
    expect(events).toEqual([
      { type: 'execution_count', count: 3 },
      { type: 'stdout', text: '1\n' },
    ])
  })

  test.each(['display_data', 'update_display_data'])('J1: shows %s as a result', (type) => {
    const { events } = play([message(type, { data: { 'image/png': 'iVBO', 'text/plain': '<Figure>' } })])
    expect(events).toEqual([{ type: 'result', results: { 'image/png': 'iVBO', 'text/plain': '<Figure>' } }])
  })

  test('has results that are texts only', () => {
    const data = {
      'application/json': { a: [1] },
      'application/vnd.list+json': ['a', 'b'],
      'text/html': ['<b>', '</b>'],
      'text/x-number': 4,
      'text/none': null,
    }
    expect(play([message('display_data', { data })]).events).toEqual([
      {
        type: 'result',
        results: {
          'application/json': '{"a":[1]}',
          'application/vnd.list+json': '["a","b"]',
          'text/html': '<b></b>',
          'text/x-number': '4',
        },
      },
    ])
  })

  test('J11: has one error, whether it comes as output, in the reply, or both ways', () => {
    const error = { ename: 'NameError', evalue: "name 'x' is not defined", traceback: ['\x1b[31mred\x1b[0m'] }
    const told = {
      type: 'error',
      error: { ename: 'NameError', evalue: "name 'x' is not defined", traceback: ['red'] },
    }
    const reply = message('execute_reply', { status: 'error', ...error })
    expect(play([message('error', error), reply, idle]).events).toEqual([told])
    expect(play([reply, idle]).events).toEqual([told])
  })

  const words = message('stream', { name: 'stderr', text: "1:1 - Cannot find name 'x'.\n" })
  const wordless = message('execute_reply', { status: 'error' })

  test.each([
    ['before its reply', [words, wordless, idle]],
    ['after its reply, by the other channel', [wordless, words, idle]],
  ])('J11: whose kernel names no error has what it wrote last, %s', (_when, messages) => {
    const { events } = play(messages)
    expect(events.filter(({ type }) => type === 'error')).toEqual([
      {
        type: 'error',
        error: { ename: 'Error', evalue: "1:1 - Cannot find name 'x'.", traceback: [] },
      },
    ])
  })

  test('J11: that fails without any word has an error all the same, and words that come later count', () => {
    const nothing = { ename: 'Error', evalue: '', traceback: [] }
    expect(play([wordless, idle]).events).toEqual([{ type: 'error', error: nothing }])
    const named = { ename: 'TypeError', evalue: 'x is no function', traceback: [] }
    expect(play([wordless, message('error', named), idle]).events).toEqual([{ type: 'error', error: named }])
  })

  test.each(['aborted', 'abort'])('J11: that the kernel did not run, "%s", says so', (status) => {
    const cell = new Cell()
    expect(cell.take(message('execute_reply', { status }))).toEqual([])
    expect(cell.isAborted).toBe(true)
  })

  test.each(['clear_output', 'comm_open', 'something_new'])('leaves %s alone', (type) => {
    expect(play([message(type, { wait: true, data: {} })]).events).toEqual([])
  })
})

test('text is freed of orders to a terminal', () => {
  expect(
    plainText('\x1b[0;31mError\x1b[0m \x1b[38;5;241mat\x1b[39m \x1b]8;;http://a\x07link\x1b]8;;\x1b\\'),
  ).toBe('Error at link')
})

describe('the kernel for a language', () => {
  const served = (...names: string[]) =>
    names.map((each) => {
      const [name = '', language = ''] = each.split('=')
      return { name, language }
    })

  test.each<[string[], Language, string | undefined]>([
    [['python3=python'], 'python', 'python3'],
    [['python3=python', 'xpython=python'], 'python', 'xpython'],
    [['xpython=python', 'python=python', 'python3=python'], 'python', 'python'],
    [['jslab=javascript', 'tslab=typescript'], 'typescript', 'tslab'],
    [['deno=TypeScript'], 'typescript', 'deno'],
    [['gonb=go'], 'go', 'gonb'],
    [['python3=python'], 'go', undefined],
    [[], 'python', undefined],
  ])('J9: of %j, %s gets %j', (names, language, chosen) => {
    expect(chooseKernel(served(...names), language)).toBe(chosen)
  })

  test('is looked for in what the server lists', () => {
    const body = {
      default: 'python3',
      kernelspecs: {
        python3: { name: 'python3', spec: { language: 'python' } },
        broken: {},
        odd: { spec: {} },
      },
    }
    expect(parseKernelspecs(body)).toEqual([{ name: 'python3', language: 'python' }])
    expect(parseKernelspecs('<html>')).toBeUndefined()
    expect(describeKernels(served('python3=python', 'bash=bash'))).toBe('"python3" (python), "bash" (bash)')
    expect(describeKernels([])).toBe('none')
  })
})

test('J12: a kernel is taken to its place in its own language', () => {
  const place = { cwd: `/a'b "c"`, env: { X: `it's $1 "\n`, 'not-a-name': 'x' } }
  expect(preludeFor('bash', place)).toBe(`cd -- '/a'\\''b "c"'\nexport X='it'\\''s $1 "\n'`)
  expect(preludeFor('python', place)).toContain(`.chdir("/a'b \\"c\\"")`)
  expect(preludeFor('python', place)).toContain('.update({"X":"it\'s $1 \\"\\n","not-a-name":"x"})')
  expect(preludeFor('typescript', place)).toMatch(/^eval\("/)
  expect(preludeFor('java', place)).toBeUndefined()
})
