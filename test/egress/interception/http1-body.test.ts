import { expect, test } from 'vitest'
import { Body } from '../../../egress/interception/http1-body.ts'

/** What goes on of a body that comes in pieces of so many bytes. */
function passed(text: string, length: number): string {
  const body = new Body({ kind: 'chunked' }, (lines) => lines.toUpperCase())
  let out = ''
  for (let at = 0; at < text.length; at += length) {
    const { pass, problem } = body.take(Buffer.from(text.slice(at, at + length), 'latin1'))
    if (problem !== undefined) return problem
    for (const part of pass) out += part.toString('latin1')
  }
  return body.isDone ? out : `${out}…`
}

test.each([
  ['chunks', '3\r\nabc\r\na\r\n0123456789\r\n0\r\n\r\n', undefined],
  ['an extension', '3;x=y\r\nabc\r\n0;"z"\r\n\r\n', '3\r\nabc\r\n0\r\n\r\n'],
  ['a size with zeros before it', '0003\r\nabc\r\n0\r\n\r\n', undefined],
  ['trailers', '1\r\na\r\n0;e\r\nx: y\r\n\r\n', '1\r\na\r\n0\r\nX: Y\r\n\r\n'],
])('a body with %s goes on whole, and nothing that is said beside a size', (_what, text, wanted = text) => {
  const plain = (body: string) => body.replaceAll('0003', '3')
  for (let length = 1; length <= text.length; length++)
    expect(plain(passed(text, length))).toBe(plain(wanted))
})

test.each([
  ['a size that is none', 'x\r\n'],
  ['a line feed in an extension', '1;a\nb\r\n'],
  ['a carriage return in an extension', '1;a\rb\r\n'],
  ['a blank before an extension', '1 ;a\r\n'],
])('%s ends a body, whatever its pieces', (_what, text) => {
  for (let length = 1; length <= text.length; length++) expect(passed(text, length)).toMatch(/no proper size/)
})
