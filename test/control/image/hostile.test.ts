// Images and registries that are meant ill, or are broken: each gives a clear error, reaches nothing outside of its own root, and leaves
// nothing. Needs root, skopeo and umoci.

import { execFileSync, fork } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { isAlive } from '../../support/edge.ts'
import { makeFolder, NEVER, openStore } from '../../support/image-store.ts'
import { imageOf, imageSaying, serveRegistry, type TestImage } from '../../support/registry.ts'
import { type TarEntry, tarOf } from '../../support/tar.ts'
import { waitFor } from '../../support/wait-for.ts'

const isRoot = process.getuid?.() === 0

async function openFor(image: TestImage, options: Parameters<typeof openStore>[0] = {}) {
  const registry = await serveRegistry({ 'team/x:1': image })
  const opened = await openStore({ insecureRegistries: [registry.host], ...options })
  const uri = `${registry.host}/team/x:1`
  return { registry, uri, pull: () => opened.store.lease({ uri }, NEVER), ...opened }
}

describe.skipIf(!isRoot)('layers (as root: what is unpacked has owners)', () => {
  const unpack = async (...layers: TarEntry[][]) => {
    const { pull, left, store } = await openFor(imageOf(layers.map(tarOf)))
    const { image } = await pull()
    return { root: image.rootfs, left, store }
  }

  test('".." and absolute names stay within the root', async () => {
    const name = `evil-${randomBytes(4).toString('hex')}`
    const up = '../'.repeat(12)
    const { root } = await unpack([
      { name: 'tmp', type: 'directory' },
      { name: `${up}tmp/${name}-up`, data: 'x' },
      { name: `/tmp/${name}-absolute`, data: 'x' },
    ])
    expect(readdirSync('/tmp').filter((found) => found.startsWith(name))).toEqual([])
    expect(readdirSync(join(root, 'tmp')).sort()).toEqual([`${name}-absolute`, `${name}-up`])
  })

  test('what goes through a link out of the root, in one layer or over two, stays within it', async () => {
    const outside = makeFolder()
    writeFileSync(join(outside, 'there'), 'untouched')
    for (const link of [outside, `../../../../../../../../../..${outside}`]) {
      const { root } = await unpack(
        [
          { name: 'out', type: 'symlink', link },
          { name: 'out/new', data: 'evil' },
        ],
        [{ name: 'out/there', data: 'evil' }],
        [{ name: 'out/.wh.there' }],
      )
      expect([readdirSync(outside), readFileSync(join(outside, 'there'), 'utf8')]).toEqual([
        ['there'],
        'untouched',
      ])
      expect(existsSync(root)).toBe(true)
    }
  })

  test('a hard link to a file of the machine is refused, and one within the root is made', async () => {
    const { pull, left } = await openFor(
      imageOf([tarOf([{ name: 'h', type: 'hardlink', link: '/etc/hostname' }])]),
    )
    await expect(pull()).rejects.toMatchObject({
      failure: 'image_pull_failed',
      message: expect.stringMatching(/Cannot unpack image ".*\/team\/x:1"/),
    })
    expect(left()).toEqual([])
    const { root } = await unpack([
      { name: 'a', data: 'x' },
      { name: 'b', type: 'hardlink', link: 'a' },
    ])
    expect(lstatSync(join(root, 'b')).ino).toBe(lstatSync(join(root, 'a')).ino)
  })

  test('device nodes do not come along, and every file belongs to the sandbox', async () => {
    const { root } = await unpack([
      { name: 'dev', type: 'directory' },
      { name: 'dev/mem', type: 'char', mode: 0o666 },
      { name: 'disk', type: 'block', mode: 0o666 },
      { name: 'not/listed/anywhere', data: 'x', uid: 1000 },
      { name: 'suid', data: 'x', mode: 0o4755 },
    ])
    expect(execFileSync('find', [root, '-type', 'b', '-o', '-type', 'c']).toString()).toBe('')
    const foreign = [
      '-uid',
      '-1000000',
      '-o',
      '-uid',
      '+1065535',
      '-o',
      '-gid',
      '-1000000',
      '-o',
      '-gid',
      '+1065535',
    ]
    expect(execFileSync('find', [root, ...foreign]).toString()).toBe('')
    expect([
      lstatSync(join(root, 'not/listed/anywhere')).uid,
      lstatSync(join(root, 'suid')).mode & 0o7777,
    ]).toEqual([1_001_000, 0o4755])
  })

  test('whiteouts take away what lies below, opaque ones all of it, and are no files themselves', async () => {
    const { root } = await unpack(
      [
        { name: 'd', type: 'directory' },
        { name: 'd/one', data: '1' },
        { name: 'd/two', data: '2' },
        { name: 'o', type: 'directory' },
        { name: 'o/below', data: '3' },
        { name: 'o/deep', type: 'directory' },
        { name: 'o/deep/er', data: '4' },
      ],
      [
        { name: 'd/.wh.one' },
        { name: 'o', type: 'directory' },
        { name: 'o/.wh..wh..opq' },
        { name: 'o/above', data: '5' },
      ],
    )
    expect([readdirSync(join(root, 'd')), readdirSync(join(root, 'o'))]).toEqual([['two'], ['above']])
  })

  test.each([
    ['the root itself', '.wh...'],
    ['what lies above', 'd/.wh..'],
  ])('a whiteout of %s takes nothing away outside', async (_what, name) => {
    const { pull, dataDir, left } = await openFor(
      imageOf([tarOf([{ name: 'd', type: 'directory' }]), tarOf([{ name }])]),
    )
    await pull().catch((error) => expect(error).toMatchObject({ failure: 'image_pull_failed' }))
    expect(existsSync(join(dataDir, 'images/ledger.json')) || left().length === 0).toBe(true)
    expect(left().filter((found) => found.startsWith('.'))).toEqual([])
  })

  test('an image that unpacks to more than it may is given up, and leaves nothing', async () => {
    const bomb = imageOf([tarOf([{ name: 'zeros', data: Buffer.alloc(200 << 20) }])])
    const { pull, left } = await openFor(bomb, { maxUnpackedBytes: 20 << 20 })
    await expect(pull()).rejects.toMatchObject({
      failure: 'image_too_large',
      message: expect.stringMatching(/too large: it may take at most 21\.0 MB/),
    })
    expect(left()).toEqual([])
  })

  test('an image that is too large before it is unpacked is not fetched to its end', async () => {
    const large = imageOf([tarOf([{ name: 'noise', data: randomBytes(30 << 20) }])])
    const { pull, left } = await openFor(large, { maxUnpackedBytes: 5 << 20 })
    await expect(pull()).rejects.toMatchObject({ failure: 'image_too_large' })
    expect(left()).toEqual([])
  })

  test('a disk that is full while an image is unpacked is told as such, and all of it is given back', async () => {
    const disk = makeFolder()
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=24m,mode=700', 'tmpfs', disk])
    onTestFinished(() => void execFileSync('umount', ['--lazy', disk]))
    const { pull, left } = await openFor(
      imageOf([tarOf([{ name: 'zeros', data: Buffer.alloc(64 << 20) }])]),
      {
        dataDir: disk,
      },
    )
    await expect(pull()).rejects.toMatchObject({
      failure: 'no_space',
      message: expect.stringContaining('no space left on the disk'),
    })
    expect(left()).toEqual([])
  })
})

describe.skipIf(!isRoot)('registries (as root: what is unpacked has owners)', () => {
  const isBlob = ({ url = '' }: IncomingMessage, digest?: string) => url.includes(`/blobs/${digest ?? ''}`)
  type Fault = (request: IncomingMessage, response: ServerResponse, image: TestImage) => boolean

  const FAULTS: [string, Fault, string, RegExp][] = [
    [
      'answers with 503',
      (_request, response) => {
        response.writeHead(503).end()
        return true
      },
      'registry_failed',
      /503/,
    ],
    [
      'closes the connection',
      (_request, response) => {
        response.destroy()
        return true
      },
      'registry_failed',
      /EOF|reset/,
    ],
    [
      'breaks off within a layer',
      (request, response, { layers, blobs }) => {
        if (!isBlob(request, layers[0])) return false
        const blob = blobs.get(layers[0] ?? '') ?? Buffer.alloc(0)
        response.writeHead(200, { 'content-length': blob.length })
        response.write(blob.subarray(0, blob.length / 2), () => response.destroy())
        return true
      },
      'registry_failed',
      /EOF/,
    ],
    [
      'sends another layer than it has announced',
      (request, response, { layers }) => {
        if (!isBlob(request, layers[0])) return false
        response.end(imageSaying('evil').blobs.values().next().value)
        return true
      },
      'registry_failed',
      /[Dd]igest/,
    ],
    [
      'sends a layer that is longer than it has announced',
      (request, response, { layers, blobs }) => {
        if (!isBlob(request, layers[0])) return false
        response.end(Buffer.concat([blobs.get(layers[0] ?? '') ?? Buffer.alloc(0), Buffer.alloc(1 << 20)]))
        return true
      },
      'registry_failed',
      /[Dd]igest|size/,
    ],
    [
      'has another manifest under the digest than under the tag',
      (request, response) => {
        if (!request.url?.includes('/manifests/sha256:')) return false
        response.writeHead(200, { 'content-type': 'application/vnd.oci.image.manifest.v1+json' })
        response.end(imageSaying('evil').manifest)
        return true
      },
      'registry_failed',
      /digest|does not match/,
    ],
    [
      'answers with a page',
      (request, response) => {
        if (!request.url?.includes('/manifests/')) return false
        response.writeHead(200, { 'content-type': 'text/html' })
        response.end('<html>Log in to this network first</html>')
        return true
      },
      'registry_failed',
      /invalid character/,
    ],
    [
      'sends a manifest without end',
      (request, response) => {
        if (!request.url?.includes('/manifests/')) return false
        const more = () => {
          while (response.write(Buffer.alloc(1 << 20, 'x')));
          response.once('drain', more)
        }
        more()
        return true
      },
      'registry_failed',
      /exceeded maximum/,
    ],
  ]

  test.each(FAULTS)('L8: one that %s', async (_what, fault, failure, message) => {
    const image = imageSaying('first')
    const { registry, pull, left } = await openFor(image)
    registry.fault = (request, response) => fault(request, response, image)
    await expect(pull()).rejects.toMatchObject({ failure, message: expect.stringMatching(message) })
    expect(left()).toEqual([])
    registry.fault = () => false
    const lease = await pull()
    expect(readFileSync(join(lease.image.rootfs, 'etc/says'), 'utf8')).toBe('first')
  })

  test('one that stalls is given up, and the next try begins anew', async () => {
    const image = imageSaying('first')
    const { registry, pull, left } = await openFor(image, { stallMs: 1000 })
    registry.fault = (request, response) => {
      if (!isBlob(request, image.layers[0])) return false
      response.writeHead(200, { 'content-length': 1000 })
      response.write('x')
      return true
    }
    await expect(pull()).rejects.toMatchObject({
      failure: 'registry_failed',
      message: expect.stringContaining('its registry has sent nothing for 1 seconds'),
    })
    expect(left()).toEqual([])
  })

  test('one that sends elsewhere does not send the login along, nor does one that asks for it elsewhere', async () => {
    const image = imageSaying('first')
    const { registry, store, uri, left } = await openFor(image)
    registry.logins.set('team/x', 'it:sesame')
    const heard: (string | undefined)[] = []
    const other = createServer(({ headers, url = '' }, response) => {
      heard.push(headers.authorization)
      response.end(image.blobs.get(url.slice(1)))
    })
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.2', resolve))
    onTestFinished(() => void other.close())
    registry.fault = (request, response) => {
      const digest = /\/blobs\/(.+)$/.exec(request.url ?? '')?.[1]
      if (digest === undefined) return false
      const { port } = other.address() as AddressInfo
      response.writeHead(307, { location: `http://127.0.0.2:${port}/${digest}` }).end()
      return true
    }
    const auth = { username: 'it', password: 'sesame' }
    using lease = await store.lease({ uri, auth }, NEVER)
    expect(readFileSync(join(lease.image.rootfs, 'etc/says'), 'utf8')).toBe('first')
    expect(heard.length).toBeGreaterThan(0)
    expect(heard.filter((authorization) => authorization !== undefined)).toEqual([])
    expect(left()).toHaveLength(1)
  })

  test("the machine's own logins are not used for anybody", async () => {
    const { registry, pull } = await openFor(imageSaying('first'))
    registry.logins.set('team/x', 'it:sesame')
    const folder = '/run/containers/0'
    const path = join(folder, 'auth.json')
    if (existsSync(path)) return expect(registry.host).not.toBe('')
    mkdirSync(folder, { recursive: true })
    onTestFinished(() => rmSync(path, { force: true }))
    const auth = Buffer.from('it:sesame').toString('base64')
    writeFileSync(path, JSON.stringify({ auths: { [registry.host]: { auth } } }), { mode: 0o600 })
    await expect(pull()).rejects.toMatchObject({ failure: 'image_denied' })
  })

  test('control that is killed while it pulls takes skopeo with it, and its next start clears what was there', async () => {
    const image = imageSaying('first')
    const { registry, uri } = await openFor(image)
    const stuck = Promise.withResolvers<void>()
    registry.fault = (request, response) => {
      if (!isBlob(request, image.layers[0])) return false
      response.writeHead(200, { 'content-length': 1000 })
      response.write('x', () => stuck.resolve())
      return true
    }
    const dataDir = makeFolder()
    const control = fork(join(import.meta.dirname, '../../fixtures/pull-image.ts'), [
      dataDir,
      registry.host,
      uri,
    ])
    await stuck.promise
    const skopeo = Number(execFileSync('pgrep', ['-P', String(control.pid), 'skopeo']).toString())
    expect(isAlive(skopeo)).toBe(true)
    expect(readdirSync(join(dataDir, 'images')).some((name) => name.startsWith('.new-'))).toBe(true)
    control.kill('SIGKILL')
    await waitFor(() => expect(isAlive(skopeo)).toBe(false))
    registry.fault = () => false
    const again = await openStore({ dataDir, insecureRegistries: [registry.host] })
    expect(again.left()).toEqual([])
    expect(await again.read({ uri })).toBe('first')
  })
})
