// The certificates that an operator gives to the gateway: how they are read, what makes one useless, and what is doubtful about them. The
// gateway says it as it starts and at each renewal, `npm run check-config` before.

import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import { createSecureContext, type SecureContext } from 'node:tls'
import type { CertificateFiles } from './config/front.ts'
import { messageOf, systemCodeOf } from './errors.ts'
import type { KeyAndCertificate } from './x509.ts'

const MAX_FILE_BYTES = 1024 * 1024
const READABLE_BY_ALL = 0o004
/** In a key of PKCS #8, and in one of the form before it. */
const LOCKED = /-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED/m
/** Nobody has said under which names sandboxes are reached. */
const NO_DOMAIN = 'localhost'

export type ServerCertificate = {
  files: CertificateFiles
  pair: KeyAndCertificate
  context: SecureContext
  /** The first of the file: the server's own. */
  parsed: X509Certificate
  keyMode: number
}

/** Reads a certificate and its key. Rejects with one sentence on what is wrong with which. */
export async function readServerCertificate(files: CertificateFiles): Promise<ServerCertificate> {
  const certificate = await read(files.certificate)
  const key = await read(files.key)
  const pair = { certificate: certificate.text, key: key.text }
  try {
    return { files, ...parsePair(pair), keyMode: key.mode }
  } catch (error) {
    throw new Error(
      `Cannot use the certificate "${files.certificate}" with the key "${files.key}": ${messageOf(error)}`,
      { cause: error },
    )
  }
}

/** A certificate with its key, as TLS takes them. Throws when it does not. */
export function parsePair(pair: KeyAndCertificate): Pick<ServerCertificate, 'pair' | 'context' | 'parsed'> {
  const { certificate, key } = pair
  const parsed = attempt(() => new X509Certificate(certificate), 'the first', 'a certificate')
  if (LOCKED.test(key)) throw new Error('the key is locked by a passphrase, which nobody can give here')
  const privateKey = attempt(() => createPrivateKey(key), 'the second', 'a private key')
  if (!parsed.checkPrivateKey(privateKey)) throw new Error('they do not belong together')
  return { pair, parsed, context: createSecureContext({ cert: certificate, key, minVersion: 'TLSv1.2' }) }
}

/** What the library says of a file that is none of its kind names neither the file nor the kind. */
function attempt<Read>(parse: () => Read, which: string, kind: string): Read {
  try {
    return parse()
  } catch (error) {
    throw new Error(`${which} cannot be read as ${kind} in PEM (${messageOf(error)})`, { cause: error })
  }
}

/** Those that no client would take now. */
export function findUseless(certificates: readonly ServerCertificate[], now: number): string[] {
  return certificates.flatMap(({ files, parsed: { validFromDate, validToDate } }) => {
    const what = `The certificate "${files.certificate}"`
    if (validToDate.getTime() < now) return [`${what} has expired: it was valid until ${textOf(validToDate)}`]
    if (validFromDate.getTime() > now)
      return [`${what} is not valid yet: it will be from ${textOf(validFromDate)}`]
    return []
  })
}

/** What they are shown in spite of, and is hardly meant. `domain` is the one below which sandboxes have names, if that is to be asked. */
export function findDoubtful(
  certificates: readonly ServerCertificate[],
  domain: string | undefined,
): string[] {
  const doubts = certificates
    .filter(({ keyMode }) => (keyMode & READABLE_BY_ALL) !== 0)
    .map(
      ({ files, keyMode }) =>
        `The key "${files.key}" can be read by everybody on this machine: its mode is 0${(keyMode & 0o777).toString(8)}, and 0600 is enough`,
    )
  if (certificates.length === 0 || domain === undefined || domain === NO_DOMAIN) return doubts
  if (!certificates.some(({ parsed }) => parsed.checkHost(`sandbox-80.${domain}`) !== undefined))
    doubts.push(
      `No certificate of front.tls.certificates is for the names of sandboxes, {id}-{port}.${domain}: that takes one for "*.${domain}"`,
    )
  return doubts
}

async function read(path: string): Promise<{ text: string; mode: number }> {
  try {
    const found = await stat(path)
    // A pipe would be waited for.
    if (!found.isFile()) throw new Error('it is no file')
    const { size, mode } = found
    if (size > MAX_FILE_BYTES) throw new Error(`it is larger than ${MAX_FILE_BYTES} bytes`)
    return { text: await readFile(path, 'utf8'), mode }
  } catch (error) {
    const why = systemCodeOf(error) === 'ENOENT' ? 'there is no such file' : messageOf(error)
    throw new Error(`Cannot read "${path}": ${why}`, { cause: error })
  }
}

function textOf(date: Date): string {
  return date.toISOString().replace('.000Z', 'Z')
}
