import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { firstFileOf } from '../../../control/runtime/docker/image-bundles.ts'

test.each(['gnu', 'pax', 'ustar'])('the file in an archive of the form %s is read whole', (format) => {
  const folder = mkdtempSync(join(tmpdir(), 'bundle-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const text = 'authorities\n'.repeat(1000)
  writeFileSync(join(folder, 'ca.crt'), text)
  const archive = execFileSync('tar', ['-c', `--format=${format}`, '-C', folder, 'ca.crt'])
  expect(firstFileOf(archive)?.toString()).toBe(text)
})

test('an archive without a file has none', () => {
  expect(firstFileOf(Buffer.alloc(1024))).toBeUndefined()
  expect(firstFileOf(Buffer.from('short'))).toBeUndefined()
})
