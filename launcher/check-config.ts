// `npm run check-config`: reads the configuration as the programs would, and tells everything that is to be said of it. It
// starts nothing and changes nothing.

import { parseTenants } from '../lib/config/tenants-file.ts'
import { type Config, ConfigError, type ReadConfig, readConfig } from '../lib/config.ts'
import { messageOf } from '../lib/errors.ts'
import { readConfigurationFile, readIfThere } from '../lib/program.ts'
import { readTrusted } from '../lib/read-trusted.ts'
import { findDoubtful, findUseless, readServerCertificate } from '../lib/server-certificates.ts'

const USAGE = `Usage: npm run check-config -- [flags]

Reads the configuration as "npm start" with the same flags would, and the files of tenants, authorities and certificates that it
names. Prints every problem, and every key that has no meaning here, with file, line, what was found and what is allowed, and what is
doubtful about certificates. Keys and tokens are never shown.

  --config FILE   the configuration (default ~/.sandbox.toml; also SANDBOX_CONFIG_PATH)
  --help          this text

The other flags of "npm start" are taken, too. Exit code 0: it would start with this. 1: it would not, or with a
certificate that no client takes.
`
const OWN_FLAGS = ['--help', '--stop-sandboxes', '--no-install']

const args = process.argv.slice(2)
if (args.includes('--help')) process.stdout.write(USAGE)
else process.exitCode = await check()

/** Prints what is to be said, and returns the exit code. */
async function check(): Promise<number> {
  const { file, problems, unused, loaded } = read()
  const files = loaded && (await checkFiles(loaded.config))
  const all = [...problems, ...(files?.problems ?? [])]
  for (const problem of all) console.error(problem)
  for (const { where, name } of unused) console.log(`${where}: "${name}" has no meaning here and is not used`)
  for (const doubt of files?.doubts ?? []) console.log(doubt)
  const what = file === undefined ? 'The configuration without a file' : `The configuration "${file}"`
  if (all.length === 0) console.log(`${what} is right`)
  else console.error(`${what} has ${all.length === 1 ? 'a problem' : `${all.length} problems`}`)
  return all.length === 0 ? 0 : 1
}

function read(): ReadConfig {
  try {
    return readConfig({ env: process.env, args, ownFlags: OWN_FLAGS, readFile: readConfigurationFile })
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return { problems: error.problems, unused: [] }
  }
}

/** The programs read these files as they start, so they are a part of the configuration. */
async function checkFiles(config: Config): Promise<{ problems: string[]; doubts: string[] }> {
  const { problems, doubts } = await checkCertificates(config)
  return { problems: [...problemsOfTenants(config), ...problemsOfTrusted(config), ...problems], doubts }
}

async function checkCertificates({
  front,
  ingress,
}: Config): Promise<{ problems: string[]; doubts: string[] }> {
  const reads = await Promise.allSettled((front.tls?.certificates ?? []).map(readServerCertificate))
  const unread = reads.filter((read) => read.status === 'rejected').map(({ reason }) => messageOf(reason))
  const read = reads.filter((read) => read.status === 'fulfilled').map(({ value }) => value)
  // One that cannot be read may be the one for the names of sandboxes.
  const doubts = findDoubtful(read, unread.length > 0 ? undefined : ingress.domain)
  return { problems: [...unread, ...findUseless(read, Date.now())], doubts }
}

function problemsOfTrusted({ egress: { upstreamCaFile } }: Config): string[] {
  try {
    if (upstreamCaFile !== undefined) readTrusted(upstreamCaFile)
    return []
  } catch (error) {
    return [messageOf(error)]
  }
}

function problemsOfTenants({ tenants }: Config): string[] {
  if (tenants?.provider !== 'file') return []
  const { path } = tenants
  try {
    const source = readIfThere(path)
    if (source === undefined) return [`Cannot read the tenants "${path}": there is no such file`]
    return parseTenants(source, path).problems
  } catch (error) {
    return [`Cannot read the tenants "${path}": ${messageOf(error)}`]
  }
}
