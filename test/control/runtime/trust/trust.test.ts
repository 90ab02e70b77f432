import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { rootCertificates } from 'node:tls'
import { expect, onTestFinished, test } from 'vitest'
import { findBundles, realPathWithin } from '../../../../control/runtime/trust/find-bundles.ts'
import { makeKeystore } from '../../../../control/runtime/trust/keystore.ts'
import { trustEnv } from '../../../../control/runtime/trust/trust-env.ts'
import { writeTrustFiles } from '../../../../control/runtime/trust/trust-files.ts'

const [AUTHORITY = '', OTHER = ''] = rootCertificates

test('C13: every kind of program is told whom to trust, above what its image and its caller say', () => {
  expect(trustEnv({ SSL_CERT_FILE: '/mine', JAVA_TOOL_OPTIONS: '-Xmx1g' })).toEqual({
    OPENSANDBOX_EGRESS_MITMPROXY_TRANSPARENT: 'true',
    NODE_EXTRA_CA_CERTS: '/opt/opensandbox/mitmproxy-ca-cert.pem',
    DENO_CERT: '/opt/opensandbox/mitmproxy-ca-cert.pem',
    SSL_CERT_FILE: '/opt/opensandbox/merged-ca-certificates.pem',
    REQUESTS_CA_BUNDLE: '/opt/opensandbox/merged-ca-certificates.pem',
    CURL_CA_BUNDLE: '/opt/opensandbox/merged-ca-certificates.pem',
    GIT_SSL_CAINFO: '/opt/opensandbox/merged-ca-certificates.pem',
    PIP_CERT: '/opt/opensandbox/merged-ca-certificates.pem',
    CARGO_HTTP_CAINFO: '/opt/opensandbox/merged-ca-certificates.pem',
    AWS_CA_BUNDLE: '/opt/opensandbox/merged-ca-certificates.pem',
    JAVA_TOOL_OPTIONS:
      '-Xmx1g -Djavax.net.ssl.trustStore=/opt/opensandbox/trust/truststore.jks -Djavax.net.ssl.trustStoreType=JKS -Djavax.net.ssl.trustStorePassword=changeit',
  })
})

test("the image's own authorities stay, and the sandbox's is behind them", async () => {
  const folder = join(scratch(), 'trust')
  const mounts = await writeTrustFiles({
    folder,
    authority: AUTHORITY,
    bundles: [
      { path: '/etc/ssl/certs/ca-certificates.crt', text: `# a comment\n${OTHER}` },
      { path: '/etc/ssl/cert.pem', text: '' },
    ],
    now: 0,
  })
  expect(mounts).toEqual([
    { source: folder, target: '/opt/opensandbox/trust' },
    { source: join(folder, 'image-0.pem'), target: '/etc/ssl/certs/ca-certificates.crt' },
    { source: join(folder, 'image-1.pem'), target: '/etc/ssl/cert.pem' },
  ])
  const read = (name: string) => readFileSync(join(folder, name), 'utf8')
  expect(read('mitmproxy-ca-cert.pem')).toBe(AUTHORITY)
  expect(read('merged-ca-certificates.pem')).toBe(`# a comment\n${OTHER}\n${AUTHORITY}\n`)
  expect(read('image-0.pem')).toBe(read('merged-ca-certificates.pem'))
  expect(read('image-1.pem').trim()).toBe(AUTHORITY)
  expect(statSync(join(folder, 'truststore.jks')).mode & 0o777).toBe(0o644)
})

test('an image without authorities gets the usual ones', async () => {
  const folder = join(scratch(), 'trust')
  await writeTrustFiles({ folder, authority: AUTHORITY, bundles: [], now: 0 })
  const merged = readFileSync(join(folder, 'merged-ca-certificates.pem'), 'utf8')
  expect(merged.match(/BEGIN CERTIFICATE/g)).toHaveLength(rootCertificates.length + 1)
})

test('a trust store has the shape that Java knows', () => {
  const certificate = Buffer.from('certificate')
  const store = makeKeystore([certificate], { password: 'changeit', now: 1 })
  const head = Buffer.from('feedfeed0000000200000001', 'hex')
  const entry = Buffer.concat([
    Buffer.from('00000002', 'hex'),
    Buffer.from('\0\x04ca-0', 'latin1'),
    Buffer.from('0000000000000001', 'hex'),
    Buffer.from('\0\x05X.509\0\0\0\x0b', 'latin1'),
    certificate,
  ])
  expect(store.subarray(0, -20)).toEqual(Buffer.concat([head, entry]))
})

test('links of an image are followed within it, and never out of it', () => {
  const root = scratch()
  mkdirSync(join(root, 'etc/ssl/certs'), { recursive: true })
  mkdirSync(join(root, 'etc/pki/tls'), { recursive: true })
  writeFileSync(join(root, 'etc/real.crt'), 'authorities')
  symlinkSync('/etc/real.crt', join(root, 'etc/ssl/certs/ca-certificates.crt'))
  symlinkSync('certs/ca-certificates.crt', join(root, 'etc/ssl/cert.pem'))
  symlinkSync('../../../../../../../etc/passwd', join(root, 'etc/ssl/ca-bundle.pem'))
  symlinkSync('cacert.pem', join(root, 'etc/pki/tls/cacert.pem'))
  expect(findBundles(root)).toEqual([{ path: '/etc/real.crt', text: 'authorities' }])
  expect(realPathWithin(root, '/etc/ssl/ca-bundle.pem')).toBeUndefined()
})

test('what is no file, or is far too large, is left as it is', () => {
  const root = scratch()
  mkdirSync(join(root, 'etc/ssl/cert.pem'), { recursive: true })
  mkdirSync(join(root, 'etc/pki/tls'), { recursive: true })
  execFileSync('truncate', ['-s', '9M', join(root, 'etc/pki/tls/cacert.pem')])
  execFileSync('mkfifo', [join(root, 'etc/ssl/ca-bundle.pem')])
  expect(findBundles(root)).toEqual([])
})

function scratch(): string {
  const folder = mkdtempSync(join(tmpdir(), 'trust-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  return folder
}
