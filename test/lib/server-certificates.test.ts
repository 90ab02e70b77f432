import { execFileSync } from 'node:child_process'
import { createPrivateKey } from 'node:crypto'
import { chmodSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import {
  findDoubtful,
  findUseless,
  readServerCertificate,
  type ServerCertificate,
} from '../../lib/server-certificates.ts'
import { formatKey, makeCertificate, makeKeyPair } from '../../lib/x509.ts'

const FROM = Date.UTC(2026, 0, 1)
const UNTIL = Date.UTC(2026, 6, 1)

function makeFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'certificates-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Files of a certificate for these names, and of its key. */
function make(serverNames: string[], folder = makeFolder(), name = 'one') {
  const { privateKey, publicKey } = makeKeyPair()
  const files = { certificate: join(folder, `${name}.pem`), key: join(folder, `${name}.key`) }
  const issuer = { name: 'test', key: privateKey }
  const order = { name: 'test', publicKey, issuer, notBefore: FROM, notAfter: UNTIL, serverNames }
  writeFileSync(files.certificate, makeCertificate(order))
  writeFileSync(files.key, formatKey(privateKey), { mode: 0o600 })
  return files
}

const read = (...names: string[]): Promise<ServerCertificate> => readServerCertificate(make(names))

describe('readServerCertificate()', () => {
  test('takes a pair, and a certificate with the chain behind it', async () => {
    const files = make(['a.example'])
    const one = await readServerCertificate(files)
    expect([one.parsed.subjectAltName, one.keyMode & 0o777]).toEqual(['DNS:a.example', 0o600])
    writeFileSync(
      files.certificate,
      one.pair.certificate + (await read('authority.example')).pair.certificate,
    )
    expect((await readServerCertificate(files)).parsed.subjectAltName).toBe('DNS:a.example')
  })

  test('says what is wrong with which file', async () => {
    const folder = makeFolder()
    const files = make(['a.example'], folder)
    const other = make(['a.example'], folder, 'other')
    const message = async (change: Partial<typeof files>): Promise<string> => {
      const error: Error = await readServerCertificate({ ...files, ...change }).then(
        () => new Error('It was taken'),
        (reason) => reason,
      )
      return error.message.replaceAll(folder, '')
    }
    expect(await message({ certificate: `${folder}/none` })).toBe(
      'Cannot read "/none": there is no such file',
    )
    expect(await message({ key: folder })).toBe('Cannot read "": it is no file')
    execFileSync('mkfifo', [`${folder}/pipe`])
    expect(await message({ key: `${folder}/pipe` })).toBe('Cannot read "/pipe": it is no file')
    expect(await message({ key: other.key })).toBe(
      'Cannot use the certificate "/one.pem" with the key "/other.key": they do not belong together',
    )
    const pair = (certificate: string, key: string) =>
      `Cannot use the certificate "/${certificate}" with the key "/${key}": `
    expect(await message({ certificate: files.key })).toContain(
      `${pair('one.key', 'one.key')}the first cannot be read as a certificate in PEM (`,
    )
    expect(await message({ key: files.certificate })).toContain(
      `${pair('one.pem', 'one.pem')}the second cannot be read as a private key in PEM (`,
    )
    const locked = createPrivateKey(readFileSync(files.key)).export({
      ...{ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'secret' },
    } as const)
    writeFileSync(`${folder}/locked.key`, locked)
    expect(await message({ key: `${folder}/locked.key` })).toBe(
      `${pair('one.pem', 'locked.key')}the key is locked by a passphrase, which nobody can give here`,
    )
    truncateSync(other.certificate, (1 << 20) + 1)
    expect(await message({ certificate: other.certificate })).toBe(
      'Cannot read "/other.pem": it is larger than 1048576 bytes',
    )
  })
})

test.each([
  ['before its time', FROM - 1000, / is not valid yet: it will be from 2026-01-01T00:00:00Z$/],
  ['in its first second', FROM, undefined],
  ['in its last second', UNTIL, undefined],
  ['after its time', UNTIL + 1000, / has expired: it was valid until 2026-07-01T00:00:00Z$/],
])('findUseless() looks at the time: %s', async (_when, now, expected) => {
  const one = await read('a.example')
  const found = findUseless([one, one], now)
  expect(found).toHaveLength(expected ? 2 : 0)
  for (const each of found) {
    expect(each).toContain(`The certificate "${one.files.certificate}"`)
    expect(each).toMatch(expected ?? /^$/)
  }
})

describe('findDoubtful()', () => {
  test.each([
    [0o600, false],
    [0o640, false],
    [0o444, true],
    [0o644, true],
  ])('looks at who can read a key: mode %o', async (mode, isTold) => {
    const files = make(['a.example'])
    chmodSync(files.key, mode)
    expect(findDoubtful([await readServerCertificate(files)], undefined)).toEqual(
      isTold
        ? [
            `The key "${files.key}" can be read by everybody on this machine: its mode is 0${mode.toString(8)}, and 0600 is enough`,
          ]
        : [],
    )
  })

  test.each([
    [[['*.box.example']], 'box.example', true],
    [[['api.example'], ['box.example', '*.BOX.example']], 'box.example', true],
    // A wildcard stands for one label, and not for none.
    [[['*.example']], 'box.example', false],
    [[['box.example']], 'box.example', false],
    [[['*.ox.example']], 'box.example', false],
    [[['*.box.example']], 'example', false],
    // Nobody has said under which names, there is none to look at, or not all are known.
    [[['api.example']], 'localhost', true],
    [[], 'box.example', true],
    [[['api.example']], undefined, true],
  ])('looks for the names of sandboxes: %j below %j', async (names, domain, isCovered) => {
    const certificates = await Promise.all(names.map((each) => read(...each)))
    expect(findDoubtful(certificates, domain)).toEqual(
      isCovered
        ? []
        : [
            `No certificate of front.tls.certificates is for the names of sandboxes, {id}-{port}.${domain}: that takes one for "*.${domain}"`,
          ],
    )
  })
})
