import { execFileSync } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { type KeySeal, makeAuthority, openAuthorities } from '../../../egress/interception/authority.ts'
import { Leaves } from '../../../egress/interception/leaves.ts'
import { makeCertificate, makeKeyPair } from '../../../lib/x509.ts'

const DAY_MS = 86_400_000
const folder = mkdtempSync(join(tmpdir(), 'authority-test-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Tells whose it is, and hides nothing. */
const labelled: KeySeal = {
  seal: (text, id) => `${id}:${Buffer.from(text).toString('base64')}`,
  open(sealed, id) {
    if (!sealed.startsWith(`${id}:`)) throw new Error('This was sealed for another')
    return Buffer.from(sealed.slice(id.length + 1), 'base64').toString()
  },
}

test('an authority is made once, kept for its owner alone, and gone when it is removed', () => {
  const directory = join(folder, 'kept')
  const made = openAuthorities({ directory, seal: labelled }).authorityOf('one')
  const again = openAuthorities({ directory, seal: labelled })
  expect(again.authorityOf('one')).toMatchObject({ name: made.name, certificate: made.certificate })
  expect(again.authorityOf('one').key.equals(made.key)).toBe(true)
  expect(again.authorityOf('two').certificate).not.toBe(made.certificate)
  expect(statSync(directory).mode & 0o777).toBe(0o700)
  expect(statSync(join(directory, 'one.pem')).mode & 0o777).toBe(0o600)
  expect(readFileSync(join(directory, 'one.pem'), 'utf8')).not.toContain('PRIVATE KEY')
  again.remove('one')
  again.remove('one')
  expect(readdirSync(directory)).toEqual(['two.pem'])
  expect(again.authorityOf('one').certificate).not.toBe(made.certificate)
})

test('an authority that was kept for another sandbox, or is none, is not taken', () => {
  const directory = join(folder, 'mixed')
  const authorities = openAuthorities({ directory, seal: labelled })
  authorities.authorityOf('one')
  writeFileSync(join(directory, 'two.pem'), readFileSync(join(directory, 'one.pem')))
  expect(() => authorities.authorityOf('two')).toThrow('sealed for another')
  writeFileSync(join(directory, 'three.pem'), 'nothing')
  expect(() => authorities.authorityOf('three')).toThrow('holds no certificate')
})

test('C13: what an authority signs stands before the strictest check, for its server and for no other', () => {
  const now = Date.now()
  const authority = makeAuthority('0123456789-'.repeat(6), now)
  const { publicKey } = makeKeyPair()
  const leaf = (name: string, isAuthority = false) =>
    makeCertificate({
      name,
      publicKey,
      issuer: authority,
      notBefore: now - DAY_MS,
      notAfter: now + DAY_MS,
      serverNames: [name],
      isAuthority,
    })
  const file = (name: string, text: string) => {
    writeFileSync(join(folder, name), text)
    return join(folder, name)
  }
  const ca = file('ca.pem', authority.certificate)
  const verify = (name: string, path: string) =>
    execFileSync(
      'openssl',
      ['verify', '-x509_strict', '-purpose', 'sslserver', '-verify_hostname', name, '-CAfile', ca, path],
      { encoding: 'utf8', stdio: 'pipe' },
    )
  const server = file('server.pem', leaf('api.a.example'))
  expect(verify('api.a.example', server)).toContain('OK')
  expect(() => verify('b.example', server)).toThrow('hostname mismatch')
  expect(new X509Certificate(leaf('api.a.example')).ca).toBe(false)
  // It may sign no further authority.
  const { privateKey: key, publicKey: subKey } = makeKeyPair()
  const times = { notBefore: now - DAY_MS, notAfter: now + DAY_MS }
  const sub = makeCertificate({
    ...times,
    name: 'sub',
    publicKey: subKey,
    issuer: authority,
    isAuthority: true,
  })
  const under = makeCertificate({
    ...times,
    name: 'c',
    publicKey,
    issuer: { name: 'sub', key },
    serverNames: ['c.example'],
  })
  const chain = ['-untrusted', file('sub.pem', sub), file('under.pem', under)]
  expect(() => execFileSync('openssl', ['verify', '-CAfile', ca, ...chain], { stdio: 'pipe' })).toThrow(
    'path length constraint exceeded',
  )
})

test('a certificate of after 2049 has a year of four digits', () => {
  const { privateKey, publicKey } = makeKeyPair()
  const made = makeCertificate({
    name: 'late',
    publicKey,
    issuer: { name: 'late', key: privateKey },
    notBefore: Date.UTC(2049, 11, 31),
    notAfter: Date.UTC(2050, 0, 2),
    isAuthority: true,
  })
  const { validFrom, validTo } = new X509Certificate(made)
  expect([validFrom, validTo]).toEqual(['Dec 31 00:00:00 2049 GMT', 'Jan  2 00:00:00 2050 GMT'])
})

test('a leaf is made once for each sandbox and name, anew before it runs out, and no more than there is room for', () => {
  let now = Date.now()
  const leaves = new Leaves({ each: 2, total: 2, now: () => now })
  const authority = makeAuthority('one', now)
  const first = leaves.contextOf('one', authority, 'a.example')
  expect(leaves.contextOf('one', authority, 'a.example')).toBe(first)
  expect(leaves.contextOf('two', makeAuthority('two', now), 'a.example')).not.toBe(first)
  now += 3 * DAY_MS
  const renewed = leaves.contextOf('one', authority, 'a.example')
  expect(renewed).not.toBe(first)
  leaves.contextOf('one', authority, 'b.example')
  expect(leaves.size).toBe(2)
  expect(leaves.contextOf('one', authority, 'a.example')).toBe(renewed)
  leaves.remove('one')
  expect(leaves.size).toBe(0)
})
