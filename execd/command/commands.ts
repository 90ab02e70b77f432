// All commands of a sandbox, running and finished. A command is registered before anyone hears its id, has one ending, which
// reaches everything that it has started, and is remembered afterwards until it is old or there are too many. What is needed to
// go on after a restart of execd is on disk (records.ts).

import type { Socket } from 'node:net'
import { join } from 'node:path'
import type { CommandStatus } from '../../lib/api/execd.ts'
import { messageOf } from '../../lib/errors.ts'
import { execdError } from '../http/answer.ts'
import { createRandomId } from '../random-id.ts'
import type { Surroundings } from '../surroundings.ts'
import {
  type Command,
  type CommandEnd,
  describeCommand,
  describeEnd,
  describeStartFailure,
} from './command.ts'
import { endAllOf } from './end.ts'
import { FinishedCommands } from './finished.ts'
import { followCommand } from './follow.ts'
import { Journal } from './journal.ts'
import { numberedFiles } from './journal-files.ts'
import { launchCommand, needsScript, prepareCommand, removeScript } from './launch.ts'
import { type OutputSink, relayLate } from './output.ts'
import { takePipes } from './pipes.ts'
import { type RunningProcess, StartError } from './process.ts'
import { ProcessScanner } from './process-scanner.ts'
import { type CommandRecord, CommandRecords } from './records.ts'
import type { CommandRequest } from './request.ts'
import { adoptProcess, endRecordOf, isStillThere, recordOf, restoreCommand } from './restore.ts'

const INTERRUPT_GRACE_MS = 3000
/** How long an interrupt waits for what even KILL does not end, such as a process in a broken device. */
const INTERRUPT_DEADLINE_MS = 10_000
const JOURNAL_BYTES = 64 << 20
/** All journals of running commands together, more or less. */
const ALL_JOURNALS_BYTES = 512 << 20
/** What a foreground command may say, in the time that most take, before it costs a file (follow.ts). */
const MEMORY_BYTES = 16 << 10
const MAX_CONTENT = 64 << 10

/** What a command tells while it starts and runs; only `begin` is asked of background commands. */
export type CommandObserver = {
  begin(id: string): void
  output?: OutputSink
  /** Whether nobody will hear of the end. */
  hasLeft?(): boolean
}

/** What there is of a command of an earlier life. */
type Restored = { record: CommandRecord; journal: Journal; pipes: Socket[] }

export class Commands {
  readonly #surroundings: Surroundings
  /** A directory of ours for records and output. */
  readonly #dir: string
  readonly #records: CommandRecords
  readonly #scanner: ProcessScanner
  readonly #running = new Map<string, Command>()
  readonly #finished: FinishedCommands
  #isStopping = false

  constructor(surroundings: Surroundings, scanner = new ProcessScanner(surroundings.log)) {
    this.#surroundings = surroundings
    this.#dir = join(surroundings.dir, 'commands')
    this.#records = new CommandRecords(this.#dir, surroundings.log)
    this.#scanner = scanner
    this.#finished = new FinishedCommands(({ id, journal }) => {
      journal.remove()
      this.#records.remove(id)
    })
  }

  /** Goes on with the commands of earlier lives, given all pipes that are held by someone. To be called before anything else. */
  async restore(pipes: Map<string, Socket>): Promise<void> {
    const processes = await this.#scanner.scan()
    const records = this.#records.load()
    const numbered = numberedFiles(this.#dir)
    // A pipe is used again once nobody holds it: who has it now is the last that was given it.
    const owned = new Map(
      records.toReversed().map((record) => [record.id, takePipes(pipes, record.process?.pipes)]),
    )
    for (const record of records) {
      const journal = Journal.restore(this.#journalOptions(record.id), numbered)
      this.#restoreOne(
        { record, journal, pipes: owned.get(record.id) ?? [] },
        isStillThere(record, processes),
      )
    }
    // What was left in the background by commands that nobody remembers must not stand still for a full pipe.
    relayLate([...pipes.values()])
  }

  /**
   * Runs a command. Throws a refusal before `begin` when the request cannot be; afterwards every failure is an end.
   * Resolves at the end of a foreground command, and at the start of a background one.
   */
  async run(
    request: CommandRequest,
    observer: CommandObserver,
  ): Promise<CommandEnd & { durationMs: number }> {
    if (this.#isStopping) throw execdError('SERVICE_UNAVAILABLE', 'The sandbox is being stopped')
    const id = createRandomId()
    const prepared = prepareCommand(this.#surroundings, request, id)
    const startedAt = performance.now()
    const ended = Promise.withResolvers<CommandEnd>()
    const { background, timeoutMs } = request
    const command: Command = {
      id,
      content: ('line' in request.run ? request.run.line : request.run.argv.join(' ')).slice(0, MAX_CONTENT),
      background,
      startedAt: Date.now(),
      timedOut: false,
      journal: this.#createJournal(id, background ? 0 : MEMORY_BYTES),
      ended: ended.promise,
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
      hasScript: needsScript(request),
    }
    this.#running.set(id, command)
    observer.begin(id)
    const finish = (end: CommandEnd) => {
      command.isTold = !background && observer.hasLeft?.() === false
      this.#finish(command, end)
      ended.resolve(end)
      return { ...end, durationMs: performance.now() - startedAt }
    }

    try {
      command.process = await launchCommand({
        surroundings: this.#surroundings,
        dir: this.#dir,
        request,
        prepared,
        id,
      })
    } catch (error) {
      this.#records.writeStart(recordOf(command))
      if (error instanceof StartError) return finish(describeStartFailure(error.message))
      finish({ exitCode: 255 })
      throw error
    }
    this.#records.writeStart(recordOf(command))
    const done = this.#follow(command, command.process, observer.output).then(finish)
    if (!background) return done
    done.catch((error) =>
      this.#surroundings.log.error('cannot end a command', { id, error: messageOf(error) }),
    )
    return { exitCode: 0, durationMs: performance.now() - startedAt }
  }

  /** The state of a command, or undefined when there is none of that id. */
  status(id: string): CommandStatus | undefined {
    const command = this.#find(id)
    return command && describeCommand(command)
  }

  /** The states of all commands, the last that was started first. */
  list(): CommandStatus[] {
    this.#finished.sweep()
    return [...this.#running.values(), ...this.#finished.all()]
      .sort((a, b) => b.startedAt - a.startedAt)
      .map(describeCommand)
  }

  /** The output of a command, both streams in one, or undefined when there is no command of that id. */
  journal(id: string): Journal | undefined {
    return this.#find(id)?.journal
  }

  /** Ends a running command and resolves when it has ended. Throws a refusal when there is nothing to end. */
  async interrupt(id: string): Promise<void> {
    const command = this.#running.get(id)
    if (!command)
      throw execdError(
        'RUNTIME_ERROR',
        this.#finished.find(id) ? `Command "${id}" is not running` : `no such session: "${id}"`,
      )
    void this.#end(command, INTERRUPT_GRACE_MS)
    const timer = deadline(INTERRUPT_DEADLINE_MS)
    const hasEnded = await Promise.race([command.ended.then(() => true), timer.passed])
    timer.cancel()
    if (!hasEnded) throw execdError('RUNTIME_ERROR', `Command "${id}" does not end, not even when killed`)
  }

  /** Ends all that runs, and what commands that have ended left in the background. Nothing can be started from then on. */
  async endAll(graceMs: number): Promise<void> {
    this.#isStopping = true
    const ids = new Set(this.#finished.all().map(({ id }) => id))
    const leftovers = {
      isMarked: ({ marks }: { marks: { command?: string } }) => ids.has(marks.command ?? ''),
    }
    await Promise.all([
      ...[...this.#running.values()].map((command) => this.#end(command, graceMs)),
      ids.size > 0 && endAllOf(leftovers, { graceMs }, this.#scanner).catch(() => {}),
    ])
  }

  async #end(command: Command, graceMs: number): Promise<void> {
    command.endGraceMs = graceMs
    const { process } = command
    // Not started yet: then whoever starts it does this.
    if (!process) return
    const ending = endAllOf(
      { leader: process, isMarked: ({ marks }) => marks.command === command.id },
      { graceMs },
      this.#scanner,
    ).catch((error) => {
      // Without a look at all processes, as when no file can be opened, there is still its group.
      this.#surroundings.log.warn('cannot look for all processes of a command', {
        id: command.id,
        error: messageOf(error),
      })
      return process.end({ graceMs })
    })
    command.ending = Promise.all([command.ending, ending])
    await command.ending
  }

  #find(id: string): Command | undefined {
    return this.#running.get(id) ?? this.#finished.find(id)
  }

  #journalOptions(id: string) {
    // Many at once share the place of a few.
    const maxBytes = () =>
      Math.min(JOURNAL_BYTES, Math.max(1 << 20, ALL_JOURNALS_BYTES / Math.max(1, this.#running.size)))
    return { path: join(this.#dir, `${id}.output`), maxBytes }
  }

  #createJournal(id: string, memoryBytes: number): Journal {
    return new Journal({ ...this.#journalOptions(id), memoryBytes })
  }

  #follow(command: Command, process: RunningProcess, observer?: OutputSink): Promise<CommandEnd> {
    // Told to end before it was there.
    if (command.endGraceMs !== undefined) void this.#end(command, command.endGraceMs)
    return followCommand(command, process, { observer, end: (graceMs) => void this.#end(command, graceMs) })
  }

  #finish(command: Command, end: CommandEnd): void {
    command.finishedAt = Date.now()
    command.end = end
    if (command.hasScript) removeScript(this.#dir, command.id)
    this.#records.writeEnd(command.id, endRecordOf(command))
    this.#running.delete(command.id)
    // Its streams are more than all the rest of it.
    delete command.process
    delete command.ending
    this.#finished.add(command)
  }

  #restoreOne({ record, journal, pipes }: Restored, isStillThere: boolean): void {
    const ended = Promise.withResolvers<CommandEnd>()
    const command = restoreCommand(record, journal, ended.promise)
    const finish = (end: CommandEnd) => {
      this.#finish(command, end)
      ended.resolve(end)
    }
    if (command.end) {
      this.#finished.add(command)
      ended.resolve(command.end)
    } else if (record.process && isStillThere) {
      command.process = adoptProcess(record.process, pipes)
      this.#running.set(command.id, command)
      void this.#follow(command, command.process).then(finish)
      return
    } else finish(describeEnd({ exitCode: -1, isUnseen: true }, command))
    // Its children may still have something to say.
    relayLate(pipes, journal.sink())
  }
}

function deadline(ms: number): { passed: Promise<false>; cancel: () => void } {
  const { promise, resolve } = Promise.withResolvers<false>()
  const timer = setTimeout(() => resolve(false), ms)
  return { passed: promise, cancel: () => clearTimeout(timer) }
}
