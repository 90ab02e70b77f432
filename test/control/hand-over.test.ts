import { execFileSync } from 'node:child_process'
import {
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { ID_MAP } from '../../control/image/image.ts'
import { handOver } from '../../control/runtime/hand-over.ts'
import type { BootFile } from '../../lib/api/guest.ts'

const BOOT: BootFile = {
  token: 'secret-token',
  host: '0.0.0.0',
  port: 44772,
  entrypoint: ['sleep', '1'],
  env: {},
  workdir: '/',
  stopGraceMs: 1000,
}

const OWNER = { uid: ID_MAP.hostId, gid: ID_MAP.hostId }

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hand-over-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
})

describe('handOver()', () => {
  const at = (name: string) => join(folder, name)

  test("leaves one file, for the sandbox's root alone", async () => {
    await handOver(folder, BOOT, OWNER)
    expect(readdirSync(folder)).toEqual(['boot.json'])
    const { mode, uid, gid } = lstatSync(at('boot.json'))
    expect({ mode: mode & 0o777, uid, gid }).toEqual({ mode: 0o400, uid: ID_MAP.hostId, gid: ID_MAP.hostId })
    expect(JSON.parse(readFileSync(at('boot.json'), 'utf8'))).toEqual(BOOT)
  })

  // An image's /etc/ld.so.preload runs with the first program of the sandbox, before there is a boot file.
  test('goes through no link that the sandbox has put where it is made or goes', async () => {
    writeFileSync(at('host-file'), 'of the host')
    for (const name of ['boot.json.new', 'boot.json']) symlinkSync(at('host-file'), at(name))
    await handOver(folder, BOOT, OWNER)
    expect(readFileSync(at('host-file'), 'utf8')).toBe('of the host')
    expect(lstatSync(at('host-file')).uid).toBe(process.getuid?.())
    expect(lstatSync(at('boot.json')).isFile()).toBe(true)
  })

  test('waits for nobody at a pipe', async () => {
    execFileSync('mkfifo', [at('boot.json.new'), at('boot.json')])
    await handOver(folder, BOOT, OWNER)
    expect(lstatSync(at('boot.json')).isFile()).toBe(true)
  })
})
