import { expect, test } from 'vitest'
import { encodeBatch } from '../../../../egress/nft/netlink/encode-batch.ts'
import { readAnswer } from '../../../../egress/nft/netlink/read-answer.ts'
import { readScript } from '../../../../egress/nft/netlink/read-script.ts'
import { MessageWriter } from '../../../../lib/netlink/message-writer.ts'

const FIRST = 100
const SCRIPT = 'add chain inet t a\nadd element inet t s { 192.0.2.1, 192.0.2.2 timeout 9s }\n'
const batch = encodeBatch(readScript(SCRIPT) ?? [], FIRST)
const error = (sequence: number, code: number, ...details: Buffer[]) => {
  const body = Buffer.alloc(20)
  body.writeInt32LE(code)
  return netlink(2, sequence, 0x100 | (details.length > 0 ? 0x200 : 0), Buffer.concat([body, ...details]))
}
const generation = (value: number) =>
  written((to) =>
    to.message({ type: (10 << 8) | 15, flags: 0, sequence: FIRST + 1 }, new Uint8Array(4), () =>
      to.number(1, value),
    ),
  )
const ENOENT = -2
const ENOSPC = -28
const said = (text: string) => written((to) => to.text(1, text))
/** In the machine's own order, unlike most. */
const offset = (at: number) => written((to) => to.bytes(2, Buffer.from([at, 0, 0, 0])))

test.each([
  ['a confirmation', [generation(7), error(FIRST + 2, 0)], { isDone: true, generation: 7 }],
  ['a confirmation of another batch', [error(FIRST - 1, 0)], { isDone: false }],
  ['an error of another batch', [error(FIRST - 1, ENOENT), error(FIRST + 2, 0)], { isDone: true }],
  ['nothing', [], { isDone: false }],
  ['a message that is cut off', [error(FIRST + 2, 0).subarray(0, 30)], { isDone: false }],
  ['an error', [error(FIRST + 1, ENOENT)], { isDone: false, refusal: 'ENOENT at "add chain inet t a"' }],
  [
    'a refused transaction whose messages were all right',
    [error(FIRST, ENOSPC), error(FIRST + 2, 0)],
    { isDone: false, refusal: 'ENOSPC' },
  ],
  [
    'an error at an element, in words',
    [error(FIRST + 2, ENOSPC, said('the set is full'), offset(56))],
    {
      isDone: false,
      refusal:
        'ENOSPC (the set is full) at "192.0.2.2 timeout 9s" of "add element inet t s { 192.0.2.1, 192.0.2.2 timeout 9s }"',
    },
  ],
])('%s is understood', (_what, received, answer) => {
  expect(readAnswer(batch, Buffer.concat(received))).toEqual(answer)
})

function netlink(type: number, sequence: number, flags: number, body: Buffer): Buffer {
  const head = Buffer.alloc(16)
  head.writeUInt32LE(16 + body.length, 0)
  head.writeUInt16LE(type, 4)
  head.writeUInt16LE(flags, 6)
  head.writeUInt32LE(sequence, 8)
  return Buffer.concat([head, body])
}

function written(write: (to: MessageWriter) => void): Buffer {
  const to = new MessageWriter()
  write(to)
  return to.written
}
