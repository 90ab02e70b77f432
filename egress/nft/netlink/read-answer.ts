// What the kernel says to a batch. Pure.

import { getSystemErrorName } from 'node:util'
import { readAttributes, readMessages } from '../../../lib/netlink/read-messages.ts'
import { type Batch, NEW_GENERATION, type Sent } from './encode-batch.ts'

export type Answer = {
  isDone: boolean
  /** The number of the rules that are now in force: every transaction of anybody has one. */
  generation?: number
  /** The first thing that the kernel did not take. */
  refusal?: string
}

const NLMSG_ERROR = 2
const HAS_DETAILS = 0x200
const IS_SHORTENED = 0x100

/** What the kernel has said to a batch, in all that it has sent since: what it had still to say to an earlier one is not about this one. */
export function readAnswer({ first, lastSequence, sent }: Batch, received: Buffer): Answer {
  const answer: Answer = { isDone: false }
  for (const { type, sequence, flags, body } of readMessages(received)) {
    if (type === NEW_GENERATION) {
      const generation = readAttributes(body.subarray(4)).get(1)
      if (generation?.length === 4) answer.generation = generation.readUInt32BE()
    }
    if (type !== NLMSG_ERROR || body.length < 20 || sequence < first || sequence > lastSequence) continue
    const error = body.readInt32LE(0)
    if (error === 0) answer.isDone ||= sequence === lastSequence
    else
      answer.refusal ??= describe(
        sent.find((each) => each.sequence === sequence),
        { error, details: flags & HAS_DETAILS ? detailsOf(body, flags) : undefined },
      )
  }
  return answer.refusal === undefined ? answer : { ...answer, isDone: false }
}

type Details = { said?: string; offset?: number }

function detailsOf(body: Buffer, flags: number): Details {
  // Behind the error stands the message that it is about, whole or only its header.
  const size = flags & IS_SHORTENED ? 16 : body.readUInt32LE(4)
  const attributes = readAttributes(body.subarray(4 + size))
  const said = attributes.get(1)?.toString().replace(/\0$/, '')
  const offset = attributes.get(2)
  return { ...(said && { said }), ...(offset?.length === 4 && { offset: offset.readUInt32LE() }) }
}

function describe(
  sent: Sent | undefined,
  { error, details = {} }: { error: number; details: Details | undefined },
): string {
  const name = error < 0 ? getSystemErrorName(error) : String(error)
  const reason = details.said === undefined ? name : `${name} (${details.said})`
  if (!sent) return reason
  const element = sent.elements.findLast(({ at }) => details.offset !== undefined && details.offset >= at)
  return `${reason} at ${element ? `"${element.text}" of ` : ''}"${shorten(sent.line)}"`
}

const shorten = (line: string) => (line.length > 200 ? `${line.slice(0, 200)}…` : line)
