import { takeFlag } from '../../lib/config/read-flags.ts'
import { ConfigError } from '../../lib/config.ts'

export const HELP = '--help'

const COMMON = `  --config PATH     the configuration, ~/.sandbox.toml by default
  --data-dir PATH   where the state lies
  --help            this text
`

export const BACKUP_USAGE = `Usage: npm run backup -- [flags]

Copies the state of control into a new directory that only its owner can read: a database that is whole, and a manifest with its
schema version and time. Control may run meanwhile.

  --to DIR          a directory that is not there yet; {data-dir}/backups/{time} by default
${COMMON}`

export const RESTORE_USAGE = `Usage: npm run restore -- --from DIR [flags]

Puts a backup in the place of the state of control, which must not run meanwhile. The backup is checked first, and what it replaces
is kept beside it.

  --from DIR        what npm run backup has made
${COMMON}`

/** Takes one flag with its value out of the arguments; the common configuration does not know it. Throws ConfigError. */
export function takeValue(args: string[], name: string): { args: string[]; value?: string } {
  const { rest, isGiven, value = '' } = takeFlag(args, name)
  if (!isGiven) return { args }
  // `--to --data-dir …` has forgotten the directory, and no directory is called so.
  if (value === '' || value.startsWith('--')) throw new ConfigError([`Flag ${name} needs a directory`])
  return { args: rest, value }
}
