// What goes over the wire, without one.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { formatOutput, formatReplay, formatText, parseBinary, parseText } from '../../../execd/pty/frames.ts'
import { decideProgram } from '../../../execd/pty/launch.ts'
import { ReplayBuffer } from '../../../execd/pty/replay.ts'
import { parseConnectRequest, parsePtyRequest } from '../../../execd/pty/request.ts'

describe('frames of the server', () => {
  test('have their channel in front', () => {
    expect([...formatOutput('stdout', Buffer.from('ab'))]).toEqual([1, 97, 98])
    expect([...formatOutput('stderr', Buffer.from('ab'))]).toEqual([2, 97, 98])
  })

  test('of a replay have the offset as a big-endian number of 8 bytes', () => {
    const replay = new ReplayBuffer({ maxBytes: 4 })
    replay.append('stdout', Buffer.from('abcdefgh'))
    expect([...formatReplay(replay, 5)]).toEqual([3, 0, 0, 0, 0, 0, 0, 0, 5, ...Buffer.from('fgh')])
  })

  test('of text end with a newline and tell a code of 0', () => {
    expect(formatText({ type: 'exit', exit_code: 0 })).toBe('{"type":"exit","exit_code":0}\n')
  })
})

describe('frames of the client', () => {
  test.each([
    ['{"type":"ping"}', { type: 'ping' }],
    ['{"TYPE":"ping","more":1}\n', { type: 'ping' }],
    ['{"type":"stdin","data":"ä\\n"}', { type: 'stdin', data: 'ä\n' }],
    ['{"type":"stdin"}', { type: 'stdin', data: '' }],
    ['{"type":"resize","cols":120,"rows":40}', { type: 'resize', cols: 120, rows: 40 }],
    ['{"type":"resize","cols":65535,"rows":1}', { type: 'resize', cols: 65535, rows: 1 }],
    ['{"type":"signal","signal":"SIGINT"}', { type: 'signal', signal: 'SIGINT' }],
    ['{"type":"eof"}', { type: 'eof' }],
  ])('%s is read', (text, frame) => {
    expect(parseText(text)).toEqual({ ok: true, frame })
  })

  test.each([
    '',
    'ping',
    '[]',
    '"ping"',
    'null',
    '{"type":5}',
    '{"type":"stdin","data":5}',
    '{"type":"resize","cols":0,"rows":40}',
    '{"type":"resize","cols":65536,"rows":40}',
    '{"type":"resize","cols":1.5,"rows":40}',
    '{"type":"resize","cols":"80","rows":40}',
    '{"type":"signal","signal":"SIGSEGV"}',
    '{"type":"signal","signal":15}',
  ])('%j is passed over', (text) => {
    expect(parseText(text)).toEqual({ ok: false, isIgnored: true })
  })

  test.each(['{}', '{"type":""}', '{"type":"dance"}'])('%s is an error', (text) => {
    expect(parseText(text)).toMatchObject({ ok: false, isIgnored: false })
  })

  test('that are binary are typed on channel 0 alone', () => {
    expect(parseBinary(Buffer.from([0, 65, 0]))).toEqual(Buffer.from([65, 0]))
    expect(parseBinary(Buffer.from([0]))).toEqual(Buffer.from([]))
    for (const frame of [[], [1, 65], [255]]) expect(parseBinary(Buffer.from(frame))).toBeUndefined()
  })

  test('of any text never throw', () => {
    fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (text) => void parseText(text)))
  })
})

describe('requests', () => {
  test('to connect have their defaults', () => {
    expect(parseConnectRequest(new URLSearchParams(''))).toEqual({
      since: 0,
      mode: 'pty',
      isTakeover: false,
      isViewer: false,
    })
    expect(parseConnectRequest(new URLSearchParams('pty=0&since=123&takeover=1&view=1'))).toEqual({
      since: 123,
      mode: 'pipe',
      isTakeover: true,
      isViewer: true,
    })
    expect(parseConnectRequest(new URLSearchParams('pty=1&takeover=yes&since=-1'))).toMatchObject({
      since: 0,
      mode: 'pty',
      isTakeover: false,
    })
    expect(() => parseConnectRequest(new URLSearchParams('since=12a'))).toThrow('"since" must be an integer')
  })

  test('to create have the size of the contract, and either name for variables', () => {
    expect(parsePtyRequest({})).toEqual({ run: {}, size: { cols: 80, rows: 24 }, envs: {} })
    expect(parsePtyRequest({ env: { A: 'b' }, cols: 100, command: '' })).toEqual({
      run: {},
      size: { cols: 100, rows: 24 },
      envs: { A: 'b' },
    })
    expect(() => parsePtyRequest({ command: 'ä'.repeat(60_001) })).toThrow(
      'at most 120000 bytes: found 120002',
    )
  })
})

test('decideProgram() starts a shell that nobody chose without its files', () => {
  const decide = (run: Parameters<typeof decideProgram>[0]) => {
    const { path, args } = decideProgram(run, '/usr/bin:/bin', '/')
    return [path.replace(/.*\//, ''), ...args]
  }
  expect(decide({})).toEqual(['bash', '--norc', '--noprofile'])
  expect(decide({ line: 'echo x' })).toEqual(['bash', '--norc', '--noprofile', '-c', 'echo x'])
  expect(decide({ shell: 'bash' })).toEqual(['bash'])
  expect(decide({ shell: '/bin/sh', line: 'echo x' })).toEqual(['sh', '-c', 'echo x'])
  expect(decide({ argv: ['env', '-i'] })).toEqual(['env', '-i'])
  expect(() => decideProgram({}, '/nowhere', '/')).toThrow('neither "bash" nor "sh"')
})
