// Interfaces, addresses and routes by messages to the kernel, here or in the network namespace of a sandbox.

import { closeSync, openSync } from 'node:fs'
import { getSystemErrorName } from 'node:util'
import type { CLibrary } from '../koffi.ts'
import type { IpStep } from './read-ip-batch.ts'
import { type Answer, formatQuestion, formatStep, readAnswers } from './rtnetlink.ts'

const AF_NETLINK = 16
const SOCK_RAW_CLOEXEC = 0o2000003
const NETLINK_ROUTE = 0
const CLONE_NEWNET = 0x40000000
const MSG_DONTWAIT = 0x40
const ANSWER_BYTES = 64 << 10

/** A step that the kernel did not take: the line it was in, from 1, and why. */
export type Refused = { line: number; why: string }

type Asked = { sequence: number; line: number; bytes: Buffer; name?: string }

export class NetworkCalls {
  readonly #functions
  /** The network namespace of this process. */
  readonly #home: number

  constructor(library: CLibrary) {
    this.#functions = {
      setns: library.func('int setns(int fd, int type)'),
      socket: library.func('int socket(int family, int type, int protocol)'),
      send: library.func('int64 send(int fd, const void *bytes, uint64 size, int flags)'),
      // Deno closes by number only what it has opened itself.
      close: library.func('int close(int fd)'),
      receive: library.func('int64 recv(int fd, void *bytes, uint64 size, int flags)'),
    }
    this.#home = openSync('/proc/self/ns/net', 'r')
  }

  /** Takes the steps in the namespace that a path names, or in ours. Undefined when all were; throws when none could be. */
  async take(steps: readonly IpStep[], namespace?: string): Promise<Refused | undefined> {
    const socket = this.#openSocket(namespace)
    try {
      return await this.#ask(socket, steps)
    } finally {
      this.#functions.close(socket)
    }
  }

  /** Sends as much at once as it can: addresses and routes name their interface by a number, which has to be asked for before. */
  async #ask(socket: number, steps: readonly IpStep[]): Promise<Refused | undefined> {
    const indexes = new Map<string, number>()
    let sequence = 0
    let waiting: Asked[] = []
    for (const [at, step] of steps.entries()) {
      const line = at + 1
      if ('device' in step && !indexes.has(step.device)) {
        const { device } = step
        sequence++
        waiting.push({ sequence, line, name: device, bytes: formatQuestion(device, sequence) })
        const refused = await this.#exchange(socket, waiting, indexes)
        if (refused) return refused
        waiting = []
      }
      sequence++
      waiting.push({ sequence, line, bytes: formatStep(step, sequence, (name) => indexes.get(name) ?? 0) })
    }
    return await this.#exchange(socket, waiting, indexes)
  }

  async #exchange(
    socket: number,
    asked: readonly Asked[],
    indexes: Map<string, number>,
  ): Promise<Refused | undefined> {
    if (asked.length === 0) return undefined
    await this.#send(socket, Buffer.concat(asked.map(({ bytes }) => bytes)))
    const answers = this.#receive(socket, asked.length)
    for (const { sequence, line, name } of asked) {
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

  /** On another thread: the kernel does what is sent before this returns, and may wait for others who change interfaces. */
  #send(socket: number, bytes: Buffer): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#functions.send.async(socket, bytes, bytes.length, 0, (error, sent) => {
        if (error) reject(error)
        else if (Number(sent) === bytes.length) resolve()
        else reject(new Error('The kernel did not take what it was sent about interfaces'))
      })
    })
  }

  /** What the kernel has answered lies ready by now. */
  #receive(socket: number, count: number): Map<number, Answer> {
    const answers = new Map<number, Answer>()
    const bytes = Buffer.alloc(ANSWER_BYTES)
    while (answers.size < count) {
      const size = Number(this.#functions.receive(socket, bytes, bytes.length, MSG_DONTWAIT))
      if (size <= 0) break
      for (const answer of readAnswers(bytes.subarray(0, size))) answers.set(answer.sequence, answer)
    }
    return answers
  }

  /** A socket belongs to the namespace that it was opened in. This thread is there for no longer than that takes. */
  #openSocket(namespace: string | undefined): number {
    const { setns, socket } = this.#functions
    const there = namespace === undefined ? undefined : openSync(namespace, 'r')
    try {
      if (there !== undefined && setns(there, CLONE_NEWNET) !== 0)
        throw new Error(`Cannot enter the network namespace "${namespace}"`)
      const made = socket(AF_NETLINK, SOCK_RAW_CLOEXEC, NETLINK_ROUTE)
      // Nothing may be done for others from within a sandbox's network; whoever needs this process begins another one.
      if (there !== undefined && setns(this.#home, CLONE_NEWNET) !== 0) process.exit(1)
      if (made < 0) throw new Error('Cannot open a socket to the kernel')
      return made
    } finally {
      if (there !== undefined) closeSync(there)
    }
  }
}
