import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { messageOf, systemCodeOf } from './errors.ts'

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g

/** Reads the authorities (PEM) that the operator adds. TLS passes over what it cannot read, so that is told here: throws one sentence. */
export function readTrusted(path: string): string[] {
  const refuse = (why: string, cause?: unknown) =>
    new Error(`Cannot use the authorities in "${path}" (egress.upstream_ca_file): ${why}`, { cause })
  let certificates: string[]
  try {
    certificates = readFileSync(path, 'utf8').match(CERTIFICATE) ?? []
  } catch (error) {
    throw refuse(`it cannot be read (${systemCodeOf(error)})`, error)
  }
  if (certificates.length === 0) throw refuse('there is no certificate in PEM in it')
  for (const [at, certificate] of certificates.entries())
    try {
      new X509Certificate(certificate)
    } catch (error) {
      throw refuse(`certificate ${at + 1} cannot be read (${messageOf(error)})`, error)
    }
  return certificates
}
