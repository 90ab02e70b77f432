// Interfaces, addresses and routes by messages to the kernel, here or in the network namespace of a sandbox.

import { closeSync, openSync } from 'node:fs'
import { getSystemErrorName } from 'node:util'
import type { CLibrary } from '../koffi.ts'
import { MessageWriter } from '../netlink/message-writer.ts'
import { type NetlinkSocket, NetlinkSockets, PROTOCOLS } from '../netlink/sockets.ts'
import type { IpStep } from './read-ip-batch.ts'
import { readAnswers, writeQuestion, writeStep } from './rtnetlink.ts'

const CLONE_NEWNET = 0x40000000

/** A step that the kernel did not take: the line it was in, from 1, and why. */
export type Refused = { line: number; why: string }

/** `name` is that of an interface whose number is asked for. */
type Asked = { sequence: number; line: number; name?: string }

export class NetworkCalls {
  readonly #sockets: NetlinkSockets
  readonly #setns
  /** The network namespace of this process. */
  readonly #home: number

  constructor(library: CLibrary) {
    this.#sockets = new NetlinkSockets(library)
    this.#setns = library.func('int setns(int fd, int type)')
    this.#home = openSync('/proc/self/ns/net', 'r')
  }

  /** Takes the steps in the namespace that a path names, or in ours. Undefined when all were; throws when none could be. */
  async take(steps: readonly IpStep[], namespace?: string): Promise<Refused | undefined> {
    const socket = this.#openSocket(namespace)
    try {
      return await this.#ask(socket, steps)
    } finally {
      socket.close()
    }
  }

  /** Sends as much at once as it can: addresses and routes name their interface by a number, which has to be asked for before. */
  async #ask(socket: NetlinkSocket, steps: readonly IpStep[]): Promise<Refused | undefined> {
    const indexes = new Map<string, number>()
    const indexOf = (name: string) => indexes.get(name) ?? 0
    const messages = new MessageWriter()
    let sequence = 0
    let waiting: Asked[] = []
    for (const [at, step] of steps.entries()) {
      const line = at + 1
      if ('device' in step && !indexes.has(step.device)) {
        const name = step.device
        writeQuestion(messages, name, ++sequence)
        waiting.push({ sequence, line, name })
        const refused = await exchange(socket, { messages, waiting, indexes })
        if (refused) return refused
        waiting = []
        messages.clear()
      }
      writeStep(messages, step, { sequence: ++sequence, indexOf })
      waiting.push({ sequence, line })
    }
    return await exchange(socket, { messages, waiting, indexes })
  }

  /** A socket belongs to the namespace that it was opened in. This thread is there for no longer than that takes. */
  #openSocket(namespace: string | undefined): NetlinkSocket {
    if (namespace === undefined) return this.#sockets.open(PROTOCOLS.route)
    const there = openSync(namespace, 'r')
    try {
      if (this.#setns(there, CLONE_NEWNET) !== 0)
        throw new Error(`Cannot enter the network namespace "${namespace}"`)
      try {
        return this.#sockets.open(PROTOCOLS.route)
      } finally {
        // Nothing may be done for others from within a sandbox's network; whoever needs this process begins another one.
        if (this.#setns(this.#home, CLONE_NEWNET) !== 0) process.exit(1)
      }
    } finally {
      closeSync(there)
    }
  }
}

async function exchange(
  socket: NetlinkSocket,
  { messages, waiting, indexes }: { messages: MessageWriter; waiting: Asked[]; indexes: Map<string, number> },
): Promise<Refused | undefined> {
  if (waiting.length === 0) return undefined
  const received = await socket.send(messages.written)
  if (!received) throw new Error('The kernel did not take what it was sent about interfaces')
  const answers = new Map(readAnswers(received).map((answer) => [answer.sequence, answer]))
  for (const { sequence, line, name } of waiting) {
    const answer = answers.get(sequence)
    if (!answer) throw new Error(`The kernel did not answer what line ${line} asks for`)
    if ('index' in answer) indexes.set(name ?? '', answer.index)
    else if (answer.error !== 0)
      return {
        line,
        why:
          name === undefined
            ? `RTNETLINK answers: ${getSystemErrorName(-answer.error)}`
            : `Cannot find device "${name}"`,
      }
  }
  return undefined
}
