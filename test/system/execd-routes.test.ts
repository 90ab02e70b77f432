// Every route of execd, asked through the gateway of the execd in a real sandbox: that it answers as the contract says, and how
// it refuses. The table is held against the routes that there are, so that a new one cannot come without its line here.

import type { Sandbox } from '@alibaba-group/opensandbox'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import WebSocket from 'ws'
import { createApp, LATE_FAMILIES } from '../../execd/app.ts'
import { idOf, outputOf, parseEvents, until } from '../execd/daemon.ts'
import { type Edge, startEdge } from '../support/edge.ts'
import { type Execd, execdOf } from '../support/execd.ts'
import { debianTarball } from '../support/images.ts'
import { createSandbox } from '../support/sandbox.ts'

let edge: Edge
let sandbox: Sandbox
let execd: Execd

beforeAll(async () => {
  edge = await startEdge({ config: `[runtime.images]\ndebian = "${debianTarball()}"\n` })
  sandbox = await createSandbox(edge, { image: 'debian', resource: { cpu: '2', memory: '512Mi' } })
  execd = await execdOf(edge, sandbox.id)
}, 240_000)

afterAll(async () => {
  await sandbox?.kill()
  await sandbox?.close()
  await edge?.dispose()
}, 120_000)

type Json = Record<string, unknown>

/** Asks, and gives status and code of a refusal, or status and body. */
async function ask(route: string, body?: unknown): Promise<{ status: number; body: Json; text: string }> {
  const [method = '', path = ''] = route.split(' ')
  const response = await execd.call(path, {
    method,
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  })
  const text = await response.text()
  if (response.status === 200 && text === '') expect(response.headers.get('content-length')).toBe('0')
  let parsed: Json = {}
  try {
    parsed = JSON.parse(text) as Json
  } catch {
    // A stream, a file, or an empty answer.
  }
  return { status: response.status, body: parsed, text }
}

const refused = async (route: string, status: number, code: string, body?: unknown) => {
  const answer = await ask(route, body)
  expect([route, answer.status, answer.body.code]).toEqual([route, status, code])
  expect(answer.body.message).toBeTruthy()
}
const fine = async (route: string, body?: unknown) => {
  const answer = await ask(route, body)
  expect([route, answer.status], answer.text).toEqual([route, 200])
  return answer
}

async function write(path: string, content: string): Promise<void> {
  const form = new FormData()
  form.append('metadata', new Blob([JSON.stringify({ path })]), 'metadata')
  form.append('file', new Blob([content]), 'file')
  const answer = await execd.call('/files/upload', { method: 'POST', body: form })
  expect(answer.status, await answer.clone().text()).toBe(200)
}
const read = async (path: string) => (await execd.call(`/files/download?path=${path}`)).text()

/** A WebSocket to the sandbox with the token that clients send. */
function socket(path: string): WebSocket {
  return new WebSocket(`${execd.url.replace('http', 'ws')}${path}`, { headers: execd.headers })
}

/** The first part of a stream that never ends by itself. */
async function firstOf(path: string, pattern: RegExp): Promise<string> {
  const left = new AbortController()
  const response = await execd.call(path, { signal: left.signal })
  expect(response.status).toBe(200)
  let text = ''
  for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
    text += chunk
    if (pattern.test(text)) break
  }
  left.abort()
  return text
}

const session = async () => String((await fine('POST /session', {})).body.session_id)
const terminal = async (body: object = {}) => {
  const answer = await ask('POST /pty', body)
  expect(answer.status).toBe(201)
  return String(answer.body.session_id)
}
const context = async (language: string) => String((await fine('POST /code/context', { language })).body.id)
const unavailable = (route: string, body?: unknown) => () => refused(route, 503, 'SERVICE_UNAVAILABLE', body)

const CHECKS: Record<string, () => Promise<unknown>> = {
  'GET /ping': () => fine('GET /ping'),
  'HEAD /ping': async () => {
    const response = await execd.call('/ping', { method: 'HEAD' })
    expect([response.status, await response.text()]).toEqual([200, ''])
  },

  'POST /command': async () => {
    const events = await execd.events('/command', { command: 'echo out; echo err >&2; exit 3' })
    expect(events[0]?.type).toBe('init')
    expect([outputOf(events), outputOf(events, 'stderr'), events.at(-1)?.error?.evalue]).toEqual([
      'out\n',
      'err\n',
      '3',
    ])
    await refused('POST /command', 400, 'INVALID_REQUEST_BODY', {})
    await refused('POST /command', 400, 'INVALID_REQUEST_BODY', { command: 'a', argv: ['a'] })
    await refused('POST /command', 400, 'INVALID_REQUEST_BODY', { command: 'a', gid: 1 })
    await refused('POST /command', 400, 'INVALID_REQUEST_BODY', { command: 'a', timeout: -1 })
    await refused('POST /command', 400, 'INVALID_REQUEST_BODY', { command: 'a', cwd: '/none' })
  },
  'DELETE /command': async () => {
    const id = idOf(await execd.events('/command', { command: 'sleep 300', background: true }))
    await fine(`DELETE /command?id=${id}`)
    await refused(`DELETE /command?id=${id}`, 500, 'RUNTIME_ERROR')
    await refused('DELETE /command?id=none', 500, 'RUNTIME_ERROR')
    await refused('DELETE /command', 400, 'MISSING_QUERY')
  },
  'GET /commands': async () => {
    const id = idOf(await execd.events('/command', { command: 'true # of the list' }))
    expect((await fine('GET /commands')).text).toContain(id)
  },
  'GET /command/status/{id}': async () => {
    const id = idOf(await execd.events('/command', { command: 'exit 5' }))
    expect((await fine(`GET /command/status/${id}`)).body).toMatchObject({ id, running: false, exit_code: 5 })
    await refused('GET /command/status/none', 404, 'INVALID_REQUEST_BODY')
  },
  'GET /command/{id}/logs': async () => {
    const id = idOf(await execd.events('/command', { command: 'echo kept', background: true }))
    const log = await until(async () => {
      const response = await execd.call(`/command/${id}/logs`)
      return (await response.text()) === 'kept\n' && response
    }, 'the output')
    expect(log.headers.get('execd-commands-tail-cursor')).toBe('5')
    expect((await fine(`GET /command/${id}/logs?cursor=5`)).text).toBe('')
    await refused(`GET /command/${id}/logs?cursor=-1`, 400, 'INVALID_REQUEST_BODY')
    await refused('GET /command/none/logs', 400, 'INVALID_REQUEST_BODY')
  },

  'GET /sessions': async () => {
    const id = await session()
    expect((await fine('GET /sessions')).text).toContain(id)
  },
  'POST /session': async () => {
    expect((await fine('POST /session')).body.session_id).toBeTruthy()
    await refused('POST /session', 400, 'INVALID_REQUEST_BODY', { cwd: 7 })
  },
  'POST /session/{sessionId}/run': async () => {
    const id = await session()
    await execd.events(`/session/${id}/run`, { command: 'word="a  b"; cd /tmp' })
    const events = await execd.events(`/session/${id}/run`, { command: 'echo "$word" $PWD; exit 4' })
    expect([events[0]?.text, outputOf(events), events.at(-1)?.error?.evalue]).toEqual([
      id,
      'a  b /tmp\n',
      '4',
    ])
    await refused('POST /session/none/run', 404, 'CONTEXT_NOT_FOUND', { command: 'true' })
    await refused(`POST /session/${id}/run`, 400, 'INVALID_REQUEST_BODY', {})
  },
  'DELETE /session/{sessionId}': async () => {
    const id = await session()
    await fine(`DELETE /session/${id}`)
    await refused(`DELETE /session/${id}`, 404, 'CONTEXT_NOT_FOUND')
  },

  'GET /pty': async () => {
    const id = await terminal()
    expect((await fine('GET /pty')).text).toContain(id)
  },
  'POST /pty': async () => {
    expect((await ask('POST /pty')).status).toBe(201)
    await refused('POST /pty', 400, 'INVALID_REQUEST_BODY', { cols: 'wide' })
  },
  'GET /pty/{sessionId}': async () => {
    const id = await terminal()
    expect((await fine(`GET /pty/${id}`)).body).toMatchObject({
      session_id: id,
      running: false,
      output_offset: 0,
    })
    await refused('GET /pty/none', 404, 'CONTEXT_NOT_FOUND')
  },
  'DELETE /pty/{sessionId}': async () => {
    const id = await terminal()
    await fine(`DELETE /pty/${id}`)
    await refused(`DELETE /pty/${id}`, 404, 'CONTEXT_NOT_FOUND')
  },
  'GET /pty/{sessionId}/ws': () => refused('GET /pty/none/ws', 404, 'CONTEXT_NOT_FOUND'),
  'UPGRADE /pty/{sessionId}/ws': async () => {
    const id = await terminal()
    const client = socket(`/pty/${id}/ws`)
    let screen = ''
    const texts: Json[] = []
    client.on('message', (data: Buffer, isBinary) => {
      if (isBinary) screen += data.subarray(data[0] === 3 ? 9 : 1).toString()
      else texts.push(JSON.parse(data.toString()) as Json)
    })
    await until(async () => texts.some(({ type }) => type === 'connected'), 'the connection')
    client.send(Buffer.from('\0tty; stty size; exit 6\n'))
    const code = await new Promise<number>((resolve) => client.once('close', resolve))
    expect(screen).toMatch(/\/dev\/pts\/\d+\r\n24 80\r\n/)
    expect([texts.at(-1), code]).toEqual([{ type: 'exit', exit_code: 6 }, 1000])
  },

  'POST /code': async () => {
    const cell = { context: { language: 'python' }, code: 'x = 20\nprint("said")\nx + 1' }
    const events = parseEvents((await fine('POST /code', cell)).text)
    expect(outputOf(events)).toBe('said\n')
    expect(events.find(({ type }) => type === 'result')).toMatchObject({ results: { text: '21' } })
    const failed = parseEvents((await fine('POST /code', { ...cell, code: 'nothing' })).text)
    expect(failed.find(({ type }) => type === 'error')?.error?.ename).toBe('NameError')
    await refused('POST /code', 400, 'INVALID_REQUEST_BODY', { context: { language: 'python' } })
  },
  'DELETE /code': async () => {
    const id = await context('python')
    const running = execd.events('/code', { context: { id, language: 'python' }, code: 'while True: pass' })
    await until(async () => (await ask(`DELETE /code?id=${id}`)).status === 200, 'the interrupt')
    const events = await running
    expect(events.find(({ type }) => type === 'error')?.error?.ename).toBe('KeyboardInterrupt')
    await refused('DELETE /code?id=none', 500, 'RUNTIME_ERROR')
    await refused('DELETE /code', 400, 'MISSING_QUERY')
  },
  'POST /code/context': async () => {
    expect((await fine('POST /code/context', { language: 'bash' })).body).toMatchObject({ language: 'bash' })
    expect((await ask('POST /code/context', { language: 'cobol' })).status).toBeGreaterThanOrEqual(400)
  },
  'GET /code/contexts': async () => {
    const id = await context('bash')
    expect((await fine('GET /code/contexts')).text).toContain(id)
    expect((await fine('GET /code/contexts?language=python')).text).not.toContain(id)
  },
  'DELETE /code/contexts': async () => {
    await context('bash')
    await fine('DELETE /code/contexts?language=bash')
    expect((await fine('GET /code/contexts?language=bash')).text).toBe('[]')
    await refused('DELETE /code/contexts', 400, 'MISSING_QUERY')
  },
  'GET /code/contexts/{contextId}': async () => {
    const id = await context('bash')
    expect((await fine(`GET /code/contexts/${id}`)).body).toMatchObject({ id, language: 'bash' })
    expect((await ask('GET /code/contexts/missing')).body).toEqual({
      code: 'CONTEXT_NOT_FOUND',
      message: 'context missing not found',
    })
  },
  'DELETE /code/contexts/{contextId}': async () => {
    const id = await context('bash')
    await fine(`DELETE /code/contexts/${id}`)
    await refused(`DELETE /code/contexts/${id}`, 404, 'CONTEXT_NOT_FOUND')
  },

  'GET /files/info': async () => {
    await write('/tmp/r/info', 'x')
    const { body } = await fine('GET /files/info?path=/tmp/r/info')
    expect(body['/tmp/r/info']).toMatchObject({ type: 'file', size: 1, owner: 'root', mode: 755 })
    await refused('GET /files/info?path=/tmp/r/none', 404, 'FILE_NOT_FOUND')
  },
  'DELETE /files': async () => {
    await write('/tmp/r/gone', 'x')
    await fine('DELETE /files?path=/tmp/r/gone&path=/tmp/r/never')
    await refused('GET /files/info?path=/tmp/r/gone', 404, 'FILE_NOT_FOUND')
  },
  'POST /files/mv': async () => {
    await write('/tmp/r/from', 'moved')
    await fine('POST /files/mv', [{ src: '/tmp/r/from', dest: '/tmp/r/new/to' }])
    expect(await read('/tmp/r/new/to')).toBe('moved')
    await refused('POST /files/mv', 404, 'FILE_NOT_FOUND', [{ src: '/tmp/r/from', dest: '/tmp/r/x' }])
  },
  'POST /files/permissions': async () => {
    await write('/tmp/r/mode', 'x')
    await fine('POST /files/permissions', { '/tmp/r/mode': { mode: 640, owner: 'nobody', group: 'nogroup' } })
    expect((await fine('GET /files/info?path=/tmp/r/mode')).body['/tmp/r/mode']).toMatchObject({
      mode: 640,
      owner: 'nobody',
      group: 'nogroup',
    })
  },
  'GET /files/search': async () => {
    await write('/tmp/search/a/one.txt', 'x')
    await write('/tmp/search/two.md', 'x')
    expect((await fine('GET /files/search?path=/tmp/search&pattern=*.txt')).text).toMatch(
      /^\[\{"path":"\/tmp\/search\/a\/one\.txt"[^\]]*\]$/,
    )
    await refused('GET /files/search?path=/tmp/none', 404, 'FILE_NOT_FOUND')
    await refused('GET /files/search', 400, 'MISSING_QUERY')
  },
  'POST /files/replace': async () => {
    await write('/tmp/r/text', 'a-b-c')
    const { body } = await fine('POST /files/replace?verbose=true', { '/tmp/r/text': { old: '-', new: '+' } })
    expect([body, await read('/tmp/r/text')]).toEqual([{ '/tmp/r/text': { replacedCount: 2 } }, 'a+b+c'])
    await refused('POST /files/replace', 400, 'INVALID_REQUEST_BODY', {
      '/tmp/r/text': { old: '', new: 'x' },
    })
  },
  'POST /files/upload': async () => {
    await write('/tmp/r/üpload', 'ü')
    expect(await read('/tmp/r/%C3%BCpload')).toBe('ü')
    await refused('POST /files/upload', 400, 'INVALID_FILE', {})
  },
  'GET /files/download': async () => {
    await write('/tmp/r/ten', '0123456789')
    const part = await execd.call('/files/download?path=/tmp/r/ten', { headers: { Range: 'bytes=2-4' } })
    expect([part.status, await part.text(), part.headers.get('content-range')]).toEqual([
      206,
      '234',
      'bytes 2-4/10',
    ])
    await write('/tmp/r/lines', 'one\r\ntwo\nthree\n')
    expect((await fine('GET /files/download?path=/tmp/r/lines&offset=2&limit=1')).text).toBe('two')
    await refused('GET /files/download?path=/tmp/r/none', 404, 'FILE_NOT_FOUND')
  },
  'HEAD /files/download': async () => {
    await write('/tmp/r/head', 'four')
    const response = await execd.call('/files/download?path=/tmp/r/head', { method: 'HEAD' })
    expect([response.status, response.headers.get('content-length'), await response.text()]).toEqual([
      200,
      '4',
      '',
    ])
  },
  'GET /files/watch': async () => {
    await fine('POST /directories', { '/tmp/watched': {} })
    const seen = firstOf('/files/watch?path=/tmp/watched', /"created"/)
    // The stream answers once it watches; a file that comes before would not be told.
    await until(async () => {
      await write('/tmp/watched/new', String(Math.random()))
      await fine('DELETE /files?path=/tmp/watched/new')
      return Promise.race([
        seen.then(() => true),
        new Promise<false>((resolve) => setImmediate(resolve, false)),
      ])
    }, 'the event')
    expect(await seen).toContain('/tmp/watched/new')
  },
  'GET /directories/list': async () => {
    await write('/tmp/list/b/c', 'x')
    await write('/tmp/list/a', 'x')
    const { text } = await fine('GET /directories/list?path=/tmp/list&depth=2')
    expect((JSON.parse(text) as { path: string }[]).map(({ path }) => path)).toEqual([
      '/tmp/list/a',
      '/tmp/list/b',
      '/tmp/list/b/c',
    ])
    await refused('GET /directories/list?path=/tmp/list&depth=x', 400, 'INVALID_REQUEST_BODY')
  },
  'POST /directories': async () => {
    await fine('POST /directories', { '/tmp/made/deep': { mode: 700 } })
    expect((await fine('GET /files/info?path=/tmp/made/deep')).body['/tmp/made/deep']).toMatchObject({
      type: 'directory',
      mode: 700,
    })
  },
  'DELETE /directories': async () => {
    await write('/tmp/whole/tree', 'x')
    await fine('DELETE /directories?path=/tmp/whole')
    await refused('GET /files/info?path=/tmp/whole', 404, 'FILE_NOT_FOUND')
    await refused('DELETE /directories?path=/', 400, 'INVALID_REQUEST_BODY')
  },
  'GET /directories/archive': async () => {
    await write('/tmp/packed/file', 'content')
    const response = await execd.call('/directories/archive?path=/tmp/packed&format=tar')
    expect([response.status, (await response.text()).includes('content')]).toEqual([200, true])
    await refused('GET /directories/archive?path=/tmp/none&format=tar', 404, 'FILE_NOT_FOUND')
  },
  'POST /directories/archive': async () => {
    await write('/tmp/source/deep/file', 'content')
    for (const format of ['tar', 'tar.gz', 'zip']) {
      const packed = await (
        await execd.call(`/directories/archive?path=/tmp/source&format=${format}`)
      ).arrayBuffer()
      const route = `/directories/archive?path=/tmp/unpacked-${format}&format=${format}`
      const answer = await execd.call(route, { method: 'POST', body: packed })
      expect([answer.status, await answer.text()], format).toEqual([200, expect.anything()])
      expect(await read(`/tmp/unpacked-${format}/deep/file`), format).toBe('content')
    }
  },

  '* /v1/filesystem/{uid}/{gid}': async () => {
    const as = '/v1/filesystem/65534/65534'
    await fine(`POST ${as}/directories`, { '/tmp/of-nobody': {} })
    expect((await fine(`GET ${as}/files/info?path=/tmp/of-nobody`)).body['/tmp/of-nobody']).toMatchObject({
      owner: 'nobody',
    })
    expect((await ask(`POST ${as}/directories`, { '/root/theirs': {} })).status).toBe(500)
    await refused('GET /v1/filesystem/x/1/files/info?path=/', 400, 'INVALID_REQUEST_BODY')
  },

  'GET /v1/isolated/capabilities': async () => {
    const { body } = await fine('GET /v1/isolated/capabilities')
    expect(body.available).toBe(false)
    expect(body.message).toBeTruthy()
  },
  'GET /v1/isolated/sessions': unavailable('GET /v1/isolated/sessions'),
  'POST /v1/isolated/session': unavailable('POST /v1/isolated/session', { workspace: { path: '/tmp' } }),
  'GET /v1/isolated/session/{id}': unavailable('GET /v1/isolated/session/none'),
  'DELETE /v1/isolated/session/{id}': unavailable('DELETE /v1/isolated/session/none'),
  'POST /v1/isolated/session/{id}/run': unavailable('POST /v1/isolated/session/none/run', { code: 'true' }),
  'GET /v1/isolated/session/{id}/runs/{runId}': unavailable('GET /v1/isolated/session/none/runs/x'),
  'GET /v1/isolated/session/{id}/runs/{runId}/logs': unavailable('GET /v1/isolated/session/none/runs/x/logs'),
  'GET /v1/isolated/session/{id}/diff': unavailable('GET /v1/isolated/session/none/diff'),
  'POST /v1/isolated/session/{id}/commit': unavailable('POST /v1/isolated/session/none/commit'),
  '* /v1/isolated/session/{id}/files': unavailable('GET /v1/isolated/session/none/files/info?path=/'),
  '* /v1/isolated/session/{id}/directories': unavailable(
    'GET /v1/isolated/session/none/directories/list?path=/',
  ),

  'GET /metrics': async () => {
    expect((await fine('GET /metrics')).body).toMatchObject({ cpu_count: 2, mem_total_mib: 512 })
  },
  'GET /metrics/watch': async () => {
    expect(await firstOf('/metrics/watch', /\n\n/)).toMatch(/^\{"cpu_count":2,.*\}\n\n/)
  },

  '* /proxy': async () => {
    const server = 'mkdir -p /tmp/www && cd /tmp/www && env > page && exec python3 -m http.server 8123'
    await execd.events('/command', { command: server, background: true })
    const page = await until(async () => {
      const response = await execd.call('/proxy/8123/page')
      const text = await response.text()
      return response.status === 200 && text
    }, 'the server')
    expect(page).toContain('PATH=')
    expect((await ask('GET /proxy/1/x')).text).toBe('Bad Gateway')
    // Docker's endpoints lead to execd by way of itself.
    const itself = await execd.events('/proxy/44772/command', { command: 'echo by itself' })
    expect(outputOf(itself)).toBe('by itself\n')
  },
  'UPGRADE* /proxy': async () => {
    const id = await terminal({ command: 'echo from the terminal' })
    const client = socket(`/proxy/44772/pty/${id}/ws`)
    let screen = ''
    client.on('message', (data: Buffer, isBinary) => {
      if (isBinary) screen += data.toString()
    })
    await new Promise((resolve) => client.once('close', resolve))
    expect(screen).toContain('from the terminal')
  },
}

test('the table has every route that there is', () => {
  const commands = Object.keys(createApp({} as never, {} as never).routes)
  const late = Object.values(LATE_FAMILIES).flatMap(({ names }) => names)
  const all = [...new Set([...commands, ...late])].sort()
  expect(Object.keys(CHECKS).sort()).toEqual(all)
})

describe('in a real sandbox', () => {
  test.each(Object.keys(CHECKS))('%s', async (route) => {
    await CHECKS[route]?.()
  })
})

test('no route but /ping answers without the token, and none with a wrong one', async () => {
  for (const route of ['GET /commands', 'GET /files/info', 'GET /pty', 'GET /proxy/80/', 'GET /nothing']) {
    const [method = '', path = ''] = route.split(' ')
    for (const headers of [{}, { 'X-EXECD-ACCESS-TOKEN': 'wrong' }] as Record<string, string>[])
      expect((await fetch(execd.url + path, { method, headers })).status, route).toBe(401)
  }
})
