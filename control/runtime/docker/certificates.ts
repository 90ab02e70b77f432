// The certificates for a daemon behind TLS, in the files that Docker has them in: `ca.pem`, and `cert.pem` with `key.pem`.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createSecureContext } from 'node:tls'
import { messageOf, systemCodeOf } from '../../../lib/errors.ts'

export type Certificates = { ca?: string; cert?: string; key?: string }

/** Reads what lies in a directory. Throws one sentence that names the file. */
export function readCertificates(folder: string): Certificates {
  const [ca, cert, key] = ['ca.pem', 'cert.pem', 'key.pem'].map((name) => readOptional(join(folder, name)))
  if (ca === undefined && cert === undefined && key === undefined)
    throw new Error(
      `Cannot find certificates for the Docker daemon: there is neither ca.pem nor cert.pem with key.pem in "${folder}" (docker.cert_path, DOCKER_CERT_PATH)`,
    )
  if ((cert === undefined) !== (key === undefined))
    throw new Error(
      `Cannot use the certificate for the Docker daemon: "${join(folder, cert === undefined ? 'cert.pem' : 'key.pem')}" is missing beside the other one`,
    )
  const found = { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) }
  try {
    createSecureContext(found)
  } catch (error) {
    throw new Error(`Cannot use the certificates in "${folder}" (${messageOf(error)})`, { cause: error })
  }
  return found
}

function readOptional(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return undefined
    throw new Error(`Cannot read "${path}" (${systemCodeOf(error)})`, { cause: error })
  }
}
