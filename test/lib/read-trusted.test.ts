import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { rootCertificates } from 'node:tls'
import { expect, onTestFinished, test } from 'vitest'
import { readTrusted } from '../../lib/read-trusted.ts'

function fileOf(text: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'test-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  writeFileSync(join(folder, 'ca.pem'), text)
  return join(folder, 'ca.pem')
}

test('authorities are read one by one, whatever stands between them', () => {
  const [one = '', other = ''] = rootCertificates
  expect(readTrusted(fileOf(`# ours\n${one}\n\nand\n${other}\n`))).toEqual([one, other])
})

const BROKEN = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'

test.each([
  ['', 'no certificate in PEM'],
  ['junk', 'no certificate in PEM'],
  ['-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n', 'no certificate in PEM'],
  [BROKEN, 'certificate 1 cannot be read'],
  [`${rootCertificates[0]}\n${BROKEN}`, 'certificate 2 cannot be read'],
])('a file with %j is refused by the name of its setting', (text, why) => {
  const path = fileOf(text)
  expect(() => readTrusted(path)).toThrow(`"${path}" (egress.upstream_ca_file): `)
  expect(() => readTrusted(path)).toThrow(why)
})

test('a file that is not there is told, with the name of its setting', () => {
  expect(() => readTrusted('/nowhere/ca.pem')).toThrow(
    'Cannot use the authorities in "/nowhere/ca.pem" (egress.upstream_ca_file): it cannot be read (ENOENT)',
  )
})
