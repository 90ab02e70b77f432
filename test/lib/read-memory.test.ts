import { createHash, randomBytes } from 'node:crypto'
import { connect, createServer, type Socket } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { ReadMemory } from '../../lib/read-memory.ts'

/** Sends bytes to a connection, and resolves with what was handed on, kept as each chunk's memory demands. */
async function receive(bytes: Buffer): Promise<{ parts: Buffer[]; kinds: Set<string> }> {
  const server = createServer((socket) => socket.end(bytes))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  const parts: Buffer[] = []
  const kinds = new Set<string>()
  const { onread } = new ReadMemory().readerFor((chunk, memory) => {
    kinds.add(memory)
    parts.push(Buffer.from(chunk))
  })
  const { port } = server.address() as { port: number }
  const socket: Socket = connect({ port, host: '127.0.0.1', onread })
  await new Promise((resolve, reject) => socket.on('end', resolve).on('error', reject))
  return { parts, kinds }
}

const hashOf = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')

test('a little is read into memory that is shared', async () => {
  const { parts, kinds } = await receive(Buffer.from('hello'))
  expect(Buffer.concat(parts).toString()).toBe('hello')
  expect([...kinds]).toEqual(['shared'])
})

test('who sends much gets memory of its own, and all of it arrives', async () => {
  const bytes = randomBytes(16 * 2 ** 20)
  const { parts, kinds } = await receive(bytes)
  expect(hashOf(Buffer.concat(parts))).toBe(hashOf(bytes))
  expect(kinds).toContain('lent')
})
