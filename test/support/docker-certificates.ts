// Certificates for a daemon on 127.0.0.1 and its clients, of an authority of the test's own.

import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export type DockerCertificates = {
  /** dockerd's arguments for them. */
  serverArgs: string[]
  /** For `docker.cert_path`. */
  client: string
  /** The authority alone: who has no more is nobody to the daemon. */
  authorityOnly: string
  /** A client's whole set by an authority that the daemon does not know. */
  foreign: string
  dispose(): void
}

export function makeDockerCertificates(): DockerCertificates {
  const folder = mkdtempSync(join(tmpdir(), 'test-certs-'))
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' })
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  const authority = (name: string) =>
    openssl('req', '-x509', ...key, '-subj', `/CN=${name}`, '-keyout', `${name}.key`, '-out', `${name}.pem`)
  const sign = (dir: string, ca: string, extensions: string) => {
    mkdirSync(join(folder, dir))
    writeFileSync(join(folder, 'ext'), extensions)
    openssl('req', ...key, '-subj', `/CN=${dir}`, '-keyout', `${dir}/key.pem`, '-out', `${dir}/csr`)
    const by = ['-CA', `${ca}.pem`, '-CAkey', `${ca}.key`, '-CAcreateserial', '-extfile', 'ext']
    openssl('x509', '-req', '-in', `${dir}/csr`, ...by, '-out', `${dir}/cert.pem`)
    openssl('x509', '-in', `${ca}.pem`, '-out', `${dir}/ca.pem`)
  }
  authority('ours')
  authority('theirs')
  sign('server', 'ours', 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n')
  sign('client', 'ours', 'extendedKeyUsage=clientAuth\n')
  sign('foreign', 'theirs', 'extendedKeyUsage=clientAuth\n')
  mkdirSync(join(folder, 'authority'))
  openssl('x509', '-in', 'ours.pem', '-out', 'authority/ca.pem')
  const server = (name: string) => join(folder, 'server', name)
  return {
    serverArgs: [
      '--tlsverify',
      `--tlscacert=${server('ca.pem')}`,
      `--tlscert=${server('cert.pem')}`,
      `--tlskey=${server('key.pem')}`,
    ],
    client: join(folder, 'client'),
    authorityOnly: join(folder, 'authority'),
    foreign: join(folder, 'foreign'),
    dispose: () => rmSync(folder, { recursive: true, force: true }),
  }
}
