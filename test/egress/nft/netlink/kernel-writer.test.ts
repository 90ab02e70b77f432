import { expect, onTestFinished, test, vi } from 'vitest'
import { KernelWriter } from '../../../../egress/nft/netlink/kernel-writer.ts'
import { readScript } from '../../../../egress/nft/netlink/read-script.ts'
import { createLogger, createSilentLogger } from '../../../../lib/log.ts'
import { MessageWriter } from '../../../../lib/netlink/message-writer.ts'
import { readMessages } from '../../../../lib/netlink/read-messages.ts'
import { waitFor } from '../../../support/wait-for.ts'

const COMMANDS = readScript('add chain inet t c\n') ?? []
const DEADLINE_MS = 1000
const EINVAL = -22
const EEXIST = -17

/** A kernel that says to each batch what `answer` makes of the numbers of its first and its last message. */
function createKernel(answer: (first: number, last: number) => Buffer | undefined | Promise<Buffer>) {
  const sent: number[] = []
  const state = { isClosed: false }
  const socket = {
    maxBytes: 1000,
    async send(batch: Buffer) {
      const [, ...numbers] = [...readMessages(batch)].map(({ sequence }) => sequence)
      sent.push(numbers[0] ?? 0)
      return answer(numbers[0] ?? 0, numbers.at(-2) ?? 0)
    },
    close: () => {
      state.isClosed = true
    },
  }
  const lines: string[] = []
  const log = createLogger({ program: 'egress', level: () => 'info', write: (line) => lines.push(line) })
  const writer = new KernelWriter({ socket, log, deadlineMs: DEADLINE_MS })
  return { writer, sent, state, lines }
}

function confirm(sequence: number, code = 0): Buffer {
  const written = Buffer.alloc(36)
  written.writeUInt32LE(36, 0)
  written.writeUInt16LE(2, 4)
  written.writeUInt16LE(0x100, 6)
  written.writeUInt32LE(sequence, 8)
  written.writeInt32LE(code, 16)
  return written
}
function generation(value: number): Buffer {
  const to = new MessageWriter()
  to.message({ type: (10 << 8) | 15, flags: 0, sequence: 0 }, new Uint8Array(4), () => to.number(1, value))
  return to.written
}

test('what the kernel confirms is done, and its generation is our own', async () => {
  let made = 6
  const { writer, sent } = createKernel((_first, last) => Buffer.concat([generation(++made), confirm(last)]))
  expect(await writer.apply(COMMANDS)).toEqual({ outcome: 'done' })
  expect(await writer.apply(COMMANDS)).toEqual({ outcome: 'done' })
  expect(await Promise.all([6, 7, 8, 9].map((each) => writer.isOwn(each)))).toEqual([
    false,
    true,
    true,
    false,
  ])
  expect(new Set(sent).size).toBe(2)
})

test('a generation that others hear of before we do is our own, too', async () => {
  const { promise, resolve } = Promise.withResolvers<Buffer>()
  const { writer, sent } = createKernel(() => promise)
  const applied = writer.apply(COMMANDS)
  const isOwn = writer.isOwn(7)
  resolve(Buffer.concat([generation(7), confirm(sent[0] ?? 0)]))
  expect(await isOwn).toBe(true)
  expect(await applied).toEqual({ outcome: 'done' })
})

test('what the kernel refuses is said, and the next change is tried again', async () => {
  const { writer } = createKernel((first) => confirm(first, EEXIST))
  const refused = { outcome: 'refused', reason: 'EEXIST at "add chain inet t c"' }
  expect(await writer.apply(COMMANDS)).toEqual(refused)
  expect(await writer.apply(COMMANDS)).toEqual(refused)
})

test.each([
  ['is larger than the socket takes', () => undefined, 40],
  ['was not taken by the system', () => undefined, 1],
  ['the kernel does not know', (first: number) => confirm(first, EINVAL), 1],
])('a change that %s is left to nft', async (_what, answer, times) => {
  const { writer } = createKernel(answer)
  const commands = Array.from({ length: times }, () => COMMANDS).flat()
  expect(await writer.apply(commands)).toEqual({ outcome: 'unable' })
})

test('that the kernel does not know something is logged once', async () => {
  const { writer, lines } = createKernel((first) => confirm(first, EINVAL))
  for (let times = 0; times < 3; times++) await writer.apply(COMMANDS)
  expect(lines.filter((line) => line.includes('nft writes it'))).toHaveLength(1)
})

test('a kernel that does not answer is not written to again, and what it does later is not taken for our own', async () => {
  vi.useFakeTimers()
  onTestFinished(() => void vi.useRealTimers())
  const { promise, resolve } = Promise.withResolvers<Buffer>()
  const { writer, sent, state, lines } = createKernel(() => promise)
  const applied = writer.apply(COMMANDS)
  const rejected = expect(applied).rejects.toThrow('the kernel has not answered within 1 s')
  const isOwn = writer.isOwn(8)
  await vi.advanceTimersByTimeAsync(DEADLINE_MS)
  await rejected
  // Whoever follows the kernel puts things right then.
  expect(await isOwn).toBe(false)
  expect(await writer.apply(COMMANDS)).toEqual({ outcome: 'unable' })
  expect(state.isClosed).toBe(false)
  resolve(Buffer.concat([generation(9), confirm(sent[0] ?? 0)]))
  await waitFor(() => expect(state.isClosed).toBe(true))
  expect(await writer.isOwn(9)).toBe(false)
  expect(lines.join()).toContain('rules are changed by nft alone')
})

test('an answer that says nothing is an error', async () => {
  const writer = new KernelWriter({
    socket: { maxBytes: 1000, send: async () => Buffer.alloc(0), close: () => {} },
    log: createSilentLogger(),
  })
  await expect(writer.apply(COMMANDS)).rejects.toThrow('the kernel has not said what became of the rules')
})
