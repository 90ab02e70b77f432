import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createGuestbook } from './guestbook.js'

test('guests stand newest first', () => {
  const book = createGuestbook()
  book.sign('Ada')
  book.sign('Grace')
  assert.deepEqual(book.guests(), ['Grace', 'Ada'])
})

test('a guest needs a name', () => {
  assert.throws(() => createGuestbook().sign('   '), TypeError)
})

test('the book forgets the oldest', () => {
  const book = createGuestbook(2)
  for (const name of ['a', 'b', 'c']) book.sign(name)
  assert.deepEqual(book.guests(), ['c', 'b'])
})
