import type { ProcessStarter } from './process.ts'

export type CommandsOptions = { starter: ProcessStarter }

/** The commands of this sandbox. */
export class Commands {
  readonly starter: ProcessStarter
  constructor(options: CommandsOptions & Record<string, unknown>) {
    this.starter = options.starter
  }
  async endAll(_graceMs: number): Promise<void> {}
}
