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
  const { onread } = new ReadMemory().readerFor('a', (chunk, memory) => {
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

/** A reader as a socket uses it: each read goes into what the last one has asked for. */
function openReader(memory: ReadMemory, whose: string) {
  const kinds: string[] = []
  const reader = memory.readerFor(whose, (_, kind) => void kinds.push(kind))
  let next = reader.onread.buffer()
  const read = (bytes: number) => {
    const length = Math.min(bytes, next.length)
    reader.onread.callback(length, next)
    next = reader.onread.buffer()
    return kinds.at(-1)
  }
  return { reader, read, size: () => next.length }
}
const MUCH = 2 ** 20

test('who reads little gives its own memory back after a while, and gets it again for much', () => {
  const memory = new ReadMemory()
  const { read, size } = openReader(memory, 'a')
  expect([read(MUCH), read(MUCH), size()]).toEqual(['shared', 'lent', 512 * 1024])
  read(100)
  expect([size(), memory.owned]).toEqual([64 * 1024, 1])
  // It has needed it since the last time.
  memory.sweep()
  expect(memory.owned).toBe(1)
  memory.sweep()
  expect(memory.owned).toBe(0)
  expect([read(100), read(MUCH), read(MUCH)]).toEqual(['shared', 'shared', 'lent'])
  memory.sweep()
  memory.sweep()
  // What the next read goes into cannot be taken away.
  expect([memory.owned, size()]).toEqual([1, 512 * 1024])
})

test('nobody takes all of the large memory, and who finds none goes on', () => {
  const memory = new ReadMemory({ maxOwn: 4 })
  const loud = Array.from({ length: 9 }, () => openReader(memory, 'loud'))
  const kinds = loud.map(({ read }) => [read(MUCH), read(MUCH)].at(-1))
  expect(kinds.filter((kind) => kind === 'lent')).toHaveLength(2)
  const quiet = openReader(memory, 'quiet')
  expect([quiet.read(MUCH), quiet.read(MUCH)]).toEqual(['shared', 'lent'])
  for (const { reader } of loud) reader.close()
  quiet.reader.close()
  expect(memory.owned).toBe(0)
  // Closed twice, and read once more, takes nothing.
  quiet.reader.close()
  quiet.read(MUCH)
  expect(memory.owned).toBe(0)
})
