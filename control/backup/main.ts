// `npm run backup` and `npm run restore`: one copy of control's state, made while control runs, and put back while it does not.

import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { messageOf } from '../../lib/errors.ts'
import { makeDataDir, orRefuse, readConfiguration, refuse } from '../../lib/program.ts'
import { sortMigrations } from '../store/migrate.ts'
import { BACKUP_USAGE, HELP, RESTORE_USAGE, takeValue } from './flags.ts'
import { restoreBackup } from './restore-backup.ts'
import { takeBackup } from './take-backup.ts'

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '../..')

// Whatever is made here is for our eyes only.
process.umask(0o077)
const [command, ...given] = process.argv.slice(2)
if (command !== 'backup' && command !== 'restore')
  refuse('Call this as "npm run backup" or "npm run restore"; --help tells more')
const place = command === 'backup' ? '--to' : '--from'
const { args, value } = orRefuse(() => takeValue(given, place))
const { config, flags } = readConfiguration({ env: process.env, args, ownFlags: [HELP] })
if (flags.has(HELP)) {
  process.stdout.write(command === 'backup' ? BACKUP_USAGE : RESTORE_USAGE)
  process.exit(0)
}
const { dataDir } = config.server
const say = (line: string) => console.log(line)

try {
  await (command === 'backup' ? backup() : restore())
} catch (error) {
  refuse(messageOf(error))
}

async function backup(): Promise<void> {
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string }
  const taken = await takeBackup({
    dataDir,
    ...(value !== undefined && { to: resolve(value) }),
    programVersion: version,
    now: Date.now(),
  })
  const { sandboxes, bytes, schemaVersion } = taken.manifest
  say(`${taken.place}: ${sandboxes} sandboxes, ${bytes} bytes, schema version ${schemaVersion}`)
}

async function restore(): Promise<void> {
  if (value === undefined) refuse(`Name the backup: --from DIR\n\n${RESTORE_USAGE}`)
  makeDataDir(dataDir)
  const migrations = sortMigrations(readdirSync(join(ROOT, 'migrations')).map((name) => ({ name, sql: '' })))
  const restored = await restoreBackup({
    from: resolve(value),
    dataDir,
    schemaVersion: migrations.length,
    now: Date.now(),
  })
  for (const warning of restored.warnings) console.error(warning)
  const { takenAt, sandboxes } = restored.manifest
  say(`Restored ${sandboxes} sandboxes as of ${takenAt} into ${dataDir}`)
  if (restored.carriedKeys > 0)
    say(`Keys made, changed or revoked since then, and kept so: ${restored.carriedKeys}`)
  if (restored.replaced) say(`What was there before is ${restored.replaced}`)
  say('The next start removes sandboxes that were made since then, and shows as failed those that are gone')
}
