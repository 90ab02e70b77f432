// Requests to code contexts, field by field.

import { expect, test } from 'vitest'
import { parseContextLanguage, parseContextRequest, parseRunRequest } from '../../../execd/code/request.ts'

test.each([
  [{ code: 'x' }, { code: 'x' }],
  [
    { CODE: 'x', Context: { ID: 'c', LANGUAGE: 'Python' } },
    { code: 'x', contextId: 'c', language: 'python' },
  ],
  [{ code: 'x', context: null, timeout: null }, { code: 'x' }],
  [{ code: 'x', context: { id: '', language: '', cwd: '' } }, { code: 'x' }],
  [
    { code: 'x', context: { language: 'command' } },
    { code: 'x', language: 'command' },
  ],
  [
    { code: 'x', context: { cwd: '/a' }, timeout: 5 },
    { code: 'x', cwd: '/a', timeoutMs: 5 },
  ],
  [{ code: 'x', timeout: 0 }, { code: 'x' }],
  [{ code: 'x', unknown: 1, context: { unknown: 1 } }, { code: 'x' }],
])('%j is read as %j', (body, request) => {
  expect(parseRunRequest(body)).toEqual(request)
})

test.each([
  [{}, '"code" must be a text that is not empty'],
  [{ code: ['x'] }, '"code" must be a text: found a list'],
  [{ code: 'a\0b' }, '"code" has a NUL byte'],
  [{ code: 'x', context: [] }, '"context" must be a JSON object: found a list'],
  [{ code: 'x', context: { id: 7 } }, '"id" must be a text: found 7'],
  [{ code: 'x', context: { language: 'c' } }, 'unknown language: c. "language" must be one of python, '],
  [{ code: 'x', context: { language: 'x'.repeat(1000) } }, `unknown language: ${'x'.repeat(100)}.`],
  [{ code: 'x', timeout: 1.5 }, '"timeout" must be an integer'],
])('%j is refused', (body, message) => {
  expect(() => parseRunRequest(body)).toThrow(message)
})

test.each([
  [{ language: 'bash' }, { language: 'bash', envs: {} }],
  [
    { language: 'go', cwd: '~/x', envs: { A: 'b', C: null } },
    { language: 'go', cwd: '~/x', envs: { A: 'b' } },
  ],
])('a context of %j is read as %j', (body, spec) => {
  expect(parseContextRequest(body)).toEqual(spec)
})

test.each([
  [{}, '"language" must be one of python, javascript, typescript, bash, go, java'],
  [{ language: '' }, '"language" must be one of'],
  [{ language: 'command' }, 'unknown language: command'],
  [{ language: 'python', envs: { A: 1 } }, '"envs.A" must be a text'],
])('a context of %j is refused', (body, message) => {
  expect(() => parseContextRequest(body)).toThrow(message)
})

test('languages that have no contexts have a status of their own', () => {
  expect(parseContextLanguage('java')).toBe('java')
  for (const language of ['command', 'background-command', 'sql'])
    expect(() => parseContextLanguage(language)).toThrow(expect.objectContaining({ status: 500 }))
  expect(() => parseContextLanguage('ruby')).toThrow(expect.objectContaining({ status: 400 }))
})
