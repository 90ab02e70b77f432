// What the workload must trust so that its requests can be read: the authority of its sandbox, alone and with those that everybody
// trusts, where the contract has it (egress.md 5). The directory is shared with the workload, which may have put anything there.

import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { rootCertificates } from 'node:tls'

export const AUTHORITY_FILE = 'mitmproxy-ca-cert.pem'
export const MERGED_FILE = 'merged-ca-certificates.pem'
const EVERYBODY_READS = 0o644

export function writeTrust(directory: string, certificate: string): void {
  mkdirSync(directory, { recursive: true })
  write(join(directory, AUTHORITY_FILE), certificate)
  write(
    join(directory, MERGED_FILE),
    [...rootCertificates, certificate].map((each) => `${each.trim()}\n`).join(''),
  )
}

/** By a file that is new and ours: one that is there, or leads elsewhere, is not written to. */
function write(path: string, text: string): void {
  const draft = `${path}.new`
  rmSync(draft, { force: true, recursive: true })
  writeFileSync(draft, text, { flag: 'wx', mode: EVERYBODY_READS })
  renameSync(draft, path)
}
