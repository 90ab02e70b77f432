// Images on every runtime: fetched once, by their digest, for who may have them, and removed when nothing needs them. By a real registry
// with and without a password, and by one that is meant ill.
//
// Exceptions: what stalls and what is killed is tried on parts with bounds of their own, those of the local runtime in
// test/control/image/hostile.test.ts. On Docker the daemon keeps device nodes that an image brings, which the device rules of every
// container make useless.

import { execFile, execFileSync, fork } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { pause } from '../../control/async.ts'
import { openEngine } from '../../control/runtime/docker/engine.ts'
import { DockerImages, type DockerImagesOptions } from '../../control/runtime/docker/images.ts'
import type { ImageRequest, Images } from '../../control/runtime/images.ts'
import { createSilentLogger } from '../../lib/log.ts'
import { runProgram } from '../../lib/run-program.ts'
import { busyboxTarball, ociLayout } from '../support/images.ts'
import { LOGIN, type RealRegistry, startRegistry } from '../support/real-registry.ts'
import {
  bombOf,
  imageOf,
  imageOfLayers,
  imageSaying,
  serveRegistry,
  type TestImage,
  type TestRegistry,
} from '../support/registry.ts'
import { tarOf } from '../support/tar.ts'
import { type OpenedRuntime, openTestRuntime, RUNTIME_NAMES, runIn, specOf, whyNot } from './runtimes.ts'

const soon = () => AbortSignal.timeout(60_000)

describe.each(RUNTIME_NAMES)('images of the %s runtime', (name) => {
  const reason = whyNot(name)
  if (reason !== undefined) {
    test.skip(`are not tried, as ${reason}`)
    return
  }
  let opened: OpenedRuntime
  let open: RealRegistry
  let guarded: RealRegistry
  let hostile: TestRegistry
  let folder: string
  let layout: string
  const ends: (() => void)[] = []

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'contract-images-'))
    const tarball = busyboxTarball(folder)
    layout = ociLayout(folder, 'layout', tarball, [
      '--config.env',
      'FROM_IMAGE=yes',
      '--config.workingdir',
      '/home',
    ])
    const copy = (to: string) =>
      execFileSync('skopeo', ['copy', '--quiet', '--insecure-policy', `oci:${layout}:test`, to], {
        stdio: 'pipe',
      })
    copy(`oci-archive:${folder}/oci.tar`)
    copy(`docker-archive:${folder}/docker.tar:python:latest`)
    ;[open, guarded] = await Promise.all([startRegistry(), startRegistry({ hasPassword: true })])
    hostile = await serveRegistry({}, (close) => ends.push(close))
    const insecure = JSON.stringify([open.host, guarded.host, hostile.host, '127.0.0.1:1'])
    opened = await openTestRuntime(name, {
      // The daemon tries a layer five times, which takes a minute.
      daemonConfig: { 'max-download-attempts': 1 },
      runtimeConfig: `insecure_registries = ${insecure}\nimage_max_unpacked_bytes = "64Mi"`,
      images: {
        tarball,
        oci: join(folder, 'oci.tar'),
        docker: join(folder, 'docker.tar'),
        layout,
        gone: join(folder, 'gone.tar'),
        broken: join(folder, 'busybox/etc/passwd'),
        short: `${open.host}/team/short:1`,
      },
    })
  }, 120_000)
  afterAll(async () => {
    await opened?.dispose()
    open?.dispose()
    guarded?.dispose()
    for (const end of ends) end()
    rmSync(folder, { recursive: true, force: true })
  }, 120_000)

  const images = (): Images => {
    const { images } = opened.runtime
    if (!images) throw new Error('This runtime keeps no images')
    return images
  }
  const pull = (uri: string, change: Partial<ImageRequest> & { isShared?: boolean } = {}) =>
    images().pull({ uri, ...change }, soon())
  const listed = async (reference: string) =>
    (await images().list(soon())).filter(({ references }) => references.includes(reference))
  const run = async (image: ImageRequest, command: string) => {
    const spec = specOf({ image })
    const sandbox = await opened.runtime.create(spec, soon())
    onTestFinished(() => opened.runtime.remove(spec.id, { graceMs: 0 }, soon()))
    return { spec, sandbox, ...(await runIn(sandbox, spec, command)) }
  }
  /** Serves one image from the registry that does as a test says. */
  const serve = (image: TestImage, fault: TestRegistry['fault'] = () => false) => {
    const repository = `evil/${randomBytes(4).toString('hex')}`
    hostile.images.set(`${repository}:1`, image)
    hostile.fault = fault
    onTestFinished(() => {
      hostile.images.delete(`${repository}:1`)
      hostile.logins.delete(repository)
      hostile.fault = () => false
    })
    return { repository, uri: `${hostile.host}/${repository}:1` }
  }

  test.each(['tarball', 'oci', 'docker', 'layout', 'short', 'host'])(
    'the name "%s" of the configuration is an image that runs, and is kept',
    async (alias) => {
      if (alias === 'short') open.push(`${layout}:test`, 'team/short:1')
      const { stdout } = await run({ uri: alias }, 'echo $FROM_IMAGE; pwd')
      expect(stdout).toBe({ tarball: '\n/', host: '\n/workspace' }[alias] ?? 'yes\n/home')
      const kept = (await images().list(soon())).filter(({ isKept }) => isKept)
      expect(kept.flatMap(({ references }) => references).join(' ')).toContain(alias)
    },
    60_000,
  )

  test('an archive brings no names of its own into the daemon', async () => {
    await pull('docker')
    expect(opened.docker?.docker('images', '--quiet', 'python') ?? '').toBe('')
  })

  test('L8: a wrong name, an archive that is gone or none, and what no registry has are told apart', async () => {
    for (const [uri, message] of [
      ['UPPER/case', /capital letters/],
      ['/etc/passwd', /neither an alias/],
      ['gone', /gone\.tar.*ENOENT/],
      ['broken', /broken|passwd/],
      [`${open.host}/team/none:1`, /none/],
    ] as const)
      await expect(pull(uri)).rejects.toMatchObject({
        failure: expect.stringMatching(/image_(not_found|pull_failed)/),
        message: expect.stringMatching(message),
      })
    await expect(pull('127.0.0.1:1/x')).rejects.toMatchObject({ failure: 'registry_failed' })
  })

  test('S7: a tag is pulled by its digest, which is told with the sandbox and in the list', async () => {
    const reference = open.push(`${layout}:test`, 'team/app:1')
    const { sandbox, stdout } = await run({ uri: reference }, 'echo $FROM_IMAGE')
    const { digest } = JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8')).manifests[0] as {
      digest: string
    }
    expect([stdout, sandbox.imageDigest]).toEqual(['yes', digest])
    expect(await listed(reference)).toMatchObject([{ digest, origin: 'registry', isShared: true, users: 1 }])
    const [stored] = await listed(reference)
    expect(stored?.sizeBytes).toBeGreaterThan(500_000)
    const pinned = reference.replace(':1', `@${digest}`)
    expect((await run({ uri: pinned }, 'true')).sandbox.imageDigest).toBe(digest)
    await expect(pull(reference.replace(':1', `@sha256:${'0'.repeat(64)}`))).rejects.toMatchObject({
      failure: 'image_not_found',
    })
  })

  test('S7: an image that came by a login is used by who shows it again, and by nobody else', async () => {
    const reference = guarded.push(`${layout}:test`, 'team/secret:1')
    const wrong = { username: 'it', password: 'wrong' }
    await expect(pull(reference)).rejects.toMatchObject({ failure: 'image_denied' })
    expect((await run({ uri: reference, auth: LOGIN }, 'echo $FROM_IMAGE')).stdout).toBe('yes')
    for (const change of [{}, { auth: wrong }, { policy: 'Always' as const }])
      await expect(pull(reference, change)).rejects.toMatchObject({ failure: 'image_denied' })
    for (const change of [{}, { auth: LOGIN }])
      await expect(pull(reference, { ...change, policy: 'Never' })).rejects.toMatchObject({
        failure: 'image_not_found',
      })
    expect(await pull(reference, { auth: LOGIN })).toMatchObject({ isShared: false })
    expect(await pull(reference, { auth: LOGIN, isShared: true })).toMatchObject({ isShared: true })
    expect(await pull(reference, { policy: 'Never' })).toMatchObject({ references: [reference] })
  })

  test('S26: no login is left in the data directory', async () => {
    const encoded = Buffer.from(`${LOGIN.username}:${LOGIN.password}`).toString('base64')
    const args = ['-rlE', `sesame|${encoded.replace(/=+$/, '')}`, opened.dataDir, '--include=*.json']
    expect(() => execFileSync('grep', args, { stdio: 'pipe' })).toThrow()
  })

  test('S7: "Always" fetches a tag that has moved, "IfNotPresent" and "Never" do not', async () => {
    const { repository, uri } = serve(imageSaying('first'))
    const first = await pull(uri)
    hostile.images.set(`${repository}:1`, imageSaying('second'))
    for (const policy of ['IfNotPresent', 'Never'] as const)
      expect((await pull(uri, { policy })).digest).toBe(first.digest)
    const second = await pull(uri, { policy: 'Always' })
    expect(second.digest).not.toBe(first.digest)
    expect((await pull(uri)).digest).toBe(second.digest)
    expect(await listed(uri)).toHaveLength(1)
  })

  test('P1: what many ask for at once is pulled once, and all are told how far it is', async () => {
    const image = imageOf([tarOf([{ name: 'noise', data: randomBytes(3 << 20) }])])
    const { uri, repository } = serve(image)
    const heard = [0, 0, 0, 0]
    const before = hostile.requests.length
    await Promise.all(
      heard.map((_, at) =>
        images().pull({ uri }, soon(), (message) => {
          if (message.startsWith(`Pulling image "${uri}"`)) heard[at] = 1
        }),
      ),
    )
    expect(heard).toEqual([1, 1, 1, 1])
    const asked = hostile.requests.slice(before)
    expect(asked.filter((line) => line === `GET /v2/${repository}/blobs/${image.layers[0]}`)).toHaveLength(1)
  })

  test('an image is not removed while a sandbox is of it, nor while one is made of it', async () => {
    const reference = open.push(`${layout}:test`, 'team/removed:1')
    const { spec } = await run({ uri: reference }, 'true')
    const [image] = await listed(reference)
    const id = image?.id ?? ''
    expect(await images().remove(id, soon())).toBe('in_use')
    await opened.runtime.remove(spec.id, { graceMs: 0 }, soon())
    const again = specOf({ image: { uri: reference } })
    const made = opened.runtime.create(again, soon())
    const removals = []
    while (removals.length < 20) removals.push(await images().remove(id, soon()))
    onTestFinished(() => opened.runtime.remove(again.id, { graceMs: 0 }, soon()))
    expect((await made).state).toBe('running')
    expect(new Set(removals)).toEqual(new Set(['in_use']))
    await opened.runtime.remove(again.id, { graceMs: 0 }, soon())
    expect(await images().remove(id, soon())).toBe('removed')
    expect([await images().remove(id, soon()), await listed(reference)]).toEqual(['absent', []])
    expect((await run({ uri: reference }, 'echo $FROM_IMAGE')).stdout).toBe('yes')
  })

  test('what is known of images is known after a restart', async () => {
    const { uri } = serve(imageSaying('kept'))
    const { digest } = await pull(uri)
    await opened.reopen()
    hostile.fault = (_request, response) => {
      response.writeHead(503).end()
      return true
    }
    expect(await pull(uri)).toMatchObject({ digest, references: [uri] })
  })

  const isBlob = ({ url = '' }: IncomingMessage, digest = '') => url.includes(`/blobs/${digest}`)
  type Fault = (request: IncomingMessage, response: ServerResponse, image: TestImage) => boolean
  const FAULTS: [string, Fault][] = [
    [
      'answers with 503',
      (_request, response) => {
        response.writeHead(503).end()
        return true
      },
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
    ],
    [
      'sends another layer than it has announced',
      (request, response, { layers }) => {
        if (!isBlob(request, layers[0])) return false
        response.end(imageSaying('evil').blobs.values().next().value)
        return true
      },
    ],
    [
      'has another manifest under the digest than under the tag',
      (request, response) => {
        if (!request.url?.includes('/manifests/sha256:')) return false
        response.writeHead(200, { 'content-type': 'application/vnd.oci.image.manifest.v1+json' })
        response.end(imageSaying('evil').manifest)
        return true
      },
    ],
  ]

  test.each(FAULTS)(
    'L8: a registry that %s is told as such, and leaves nothing',
    async (_what, fault) => {
      const image = imageSaying(randomBytes(8).toString('hex'))
      const { uri } = serve(image, (request, response) => fault(request, response, image))
      await expect(pull(uri)).rejects.toMatchObject({
        failure: expect.stringMatching(/registry_failed|image_pull_failed/),
        message: expect.stringContaining(`Cannot pull image "${uri}"`),
      })
      expect(await listed(uri)).toEqual([])
      hostile.fault = () => false
      expect(await pull(uri)).toMatchObject({ digest: image.digest })
    },
    120_000,
  )

  test('a registry that sends elsewhere does not have the login sent along', async () => {
    const image = imageSaying(randomBytes(8).toString('hex'))
    const heard: (string | undefined)[] = []
    const other = createServer(({ headers, url = '' }, response) => {
      heard.push(headers.authorization)
      response.end(image.blobs.get(url.slice(1)))
    })
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.2', resolve))
    onTestFinished(() => void other.close())
    const { uri, repository } = serve(image, (request, response) => {
      const digest = /\/blobs\/(.+)$/.exec(request.url ?? '')?.[1]
      if (digest === undefined) return false
      const { port } = other.address() as AddressInfo
      response.writeHead(307, { location: `http://127.0.0.2:${port}/${digest}` }).end()
      return true
    })
    hostile.logins.set(repository, `${LOGIN.username}:${LOGIN.password}`)
    expect(await pull(uri, { auth: LOGIN })).toMatchObject({ digest: image.digest })
    expect(heard.length).toBeGreaterThan(0)
    expect(heard.filter((authorization) => authorization !== undefined)).toEqual([])
  })

  test('layers reach nothing outside of their image, and whiteouts take away what lies below', async () => {
    const outside = join(folder, 'outside')
    mkdirSync(outside, { recursive: true })
    writeFileSync(join(outside, 'there'), 'untouched')
    const busybox = readFileSync('/bin/busybox')
    const base = [
      { name: 'bin', type: 'directory' as const },
      { name: 'bin/busybox', data: busybox, mode: 0o755 },
      ...['sh', 'ls', 'cat', 'sleep', 'stat'].map((applet) => ({
        name: `bin/${applet}`,
        type: 'symlink' as const,
        link: 'busybox',
      })),
      { name: 'd', type: 'directory' as const },
      { name: 'd/one', data: '1' },
      { name: 'o', type: 'directory' as const },
      { name: 'o/below', data: '2' },
      { name: 'out', type: 'symlink' as const, link: outside },
    ]
    const above = [
      { name: 'd/.wh.one' },
      { name: 'd/two', data: '2' },
      { name: 'o', type: 'directory' as const },
      { name: 'o/.wh..wh..opq' },
      { name: 'o/above', data: '3' },
      { name: '/absolute', data: 'x' },
      { name: 'disk', type: 'block' as const, mode: 0o666 },
    ]
    const { uri } = serve(imageOf([tarOf(base), tarOf(above)]))
    const { stdout } = await run(
      { uri },
      'cd /; ls d o; cat absolute; cat disk 2>/dev/null | head -c 1; true',
    )
    expect(stdout).toBe('d:\ntwo\n\no:\nabove\nx')
    for (const entries of [
      [
        { name: 'out', type: 'symlink' as const, link: outside },
        { name: 'out/new', data: 'evil' },
      ],
      [{ name: `${'../'.repeat(12)}${outside.slice(1)}/new`, data: 'evil' }],
      [{ name: 'h', type: 'hardlink' as const, link: `${'../'.repeat(12)}${outside.slice(1)}/there` }],
    ]) {
      const evil = serve(imageOf([tarOf(entries)]))
      // It may be refused, or kept within itself.
      await pull(evil.uri).catch((error) =>
        expect(error).toMatchObject({ failure: expect.stringMatching(/image_pull_failed|registry_failed/) }),
      )
      expect(readdirSync(outside)).toEqual(['there'])
      expect(readFileSync(join(outside, 'there'), 'utf8')).toBe('untouched')
    }
  })

  test('an image that is too large is refused with its bound, and leaves nothing', async () => {
    const { uri } = serve(imageOf([tarOf([{ name: 'zeros', data: Buffer.alloc(100 << 20) }])]))
    await expect(pull(uri)).rejects.toMatchObject({
      failure: 'image_too_large',
      message: expect.stringMatching(/too large: .*at most 67\.1 MB/),
    })
    expect(await listed(uri)).toEqual([])
  })

  test('a few megabytes that would unpack to gigabytes are given up on the way, and given back', async () => {
    const layers =
      opened.docker && join(opened.docker.docker('info', '--format', '{{.DockerRootDir}}').trim(), 'overlay2')
    const bytesOf = async (path: string) =>
      Number(/^\d+/.exec((await runProgram('du', ['-s', '-B1', path])).stdout)?.[0] ?? 0)
    const before = layers ? await bytesOf(layers) : 0
    const { uri } = serve(imageOfLayers([bombOf(1024)]))
    let most = before
    let isOver = false
    const looking = (async () => {
      while (layers && !isOver) {
        most = Math.max(most, await bytesOf(layers))
        await pause(100, soon())
      }
    })()
    await expect(pull(uri)).rejects.toMatchObject({
      failure: 'image_too_large',
      message: expect.stringMatching(/too large: it may take at most 67\.1 MB/),
    })
    isOver = true
    await looking
    expect(most - before).toBeLessThan(768 << 20)
    expect(await listed(uri)).toEqual([])
    if (layers) await expect.poll(async () => (await bytesOf(layers)) - before).toBeLessThan(1 << 20)
  })

  test.each([
    'localhost:1/x',
    '127.0.0.2:1/x',
    '127.1:1/x',
    '169.254.169.254/latest/meta-data',
    '0.0.0.0:1/x',
  ])('a registry at an address of this machine or its surroundings is not asked: %s', async (uri) => {
    await expect(pull(uri)).rejects.toMatchObject({
      failure: 'image_denied',
      message: expect.stringContaining('runtime.internal_registries'),
    })
  })

  test('an image for another machine is refused as such', async () => {
    const { uri } = serve(imageOf([tarOf([{ name: 'a' }])], { arch: 's390x' }))
    await expect(pull(uri)).rejects.toMatchObject({ failure: 'platform_mismatch' })
    expect(await listed(uri)).toEqual([])
  })

  if (name === 'docker') {
    const docker = (...args: string[]) => opened.docker?.docker(...args) ?? ''

    test("S7: what somebody pulled into the daemon by their own login is nobody's without one", async () => {
      const reference = guarded.push(`${layout}:test`, 'team/by-hand:1')
      docker('login', '--username', LOGIN.username, '--password', LOGIN.password, guarded.host)
      onTestFinished(() => void docker('logout', guarded.host))
      docker('pull', '--quiet', reference)
      await expect(pull(reference)).rejects.toMatchObject({ failure: 'image_denied' })
      const pulled = await pull(reference, { auth: LOGIN })
      expect(pulled).toMatchObject({ isShared: false, references: [reference] })
      // It was theirs before, and is theirs after.
      expect(await images().remove(pulled.id, soon())).toBe('removed')
      expect(docker('images', '--quiet', reference)).not.toBe('')
    })

    test("what was built in the daemon is everybody's, by whatever policy asks no registry", async () => {
      copyFileSync(join(folder, 'busybox.tar'), join(folder, 'import.tar'))
      docker('import', join(folder, 'import.tar'), 'mine:1')
      const { stdout, sandbox } = await run({ uri: 'mine:1' }, 'ls /bin/busybox')
      expect([stdout, sandbox.imageDigest]).toEqual(['/bin/busybox', undefined])
      await expect(pull('mine:1', { policy: 'Always' })).rejects.toThrow(/Cannot pull image "mine:1"/)
      expect(await pull('mine:1')).toMatchObject({ references: ['mine:1'], isShared: true })
    })

    test("S7: the names that this and other installations give in the daemon are nobody's to use", async () => {
      docker('import', join(folder, 'busybox.tar'), 'opensandbox-snapshots:of-somebody')
      const pulled = await pull(guarded.push(`${layout}:test`, 'team/named:1'), { auth: LOGIN })
      const ours = docker('images', '--format', '{{.Repository}}:{{.Tag}}').split('\n')
      const name = ours.find((each) => each.endsWith(pulled.id)) ?? ''
      expect(name).toMatch(/^opensandbox-.+\/pulled:/)
      for (const uri of ['opensandbox-snapshots:of-somebody', name])
        await expect(pull(uri, { policy: 'Never' })).rejects.toMatchObject({ failure: 'image_not_found' })
    })

    /** The parts of the runtime that are about images, over a data directory of their own. */
    const openImages = async (dataDir: string, change: Partial<DockerImagesOptions> = {}) => {
      const { signal } = new AbortController()
      const { socketPath = '' } = opened.docker ?? {}
      return await DockerImages.open({
        engine: await openEngine({ socketPath, timeoutMs: 60_000, signal }),
        key: 'test',
        dataDir,
        aliases: {},
        internalRegistries: ['127.0.0.1'],
        policy: 'IfNotPresent',
        pullTimeoutMs: 60_000,
        maxUnpackedBytes: 1 << 30,
        log: createSilentLogger(),
        now: Date.now,
        signal,
        ...change,
      })
    }
    const makeData = () => {
      const dataDir = mkdtempSync(join(folder, 'data-'))
      return { dataDir, pending: () => readdirSync(join(dataDir, 'docker-images/pending')) }
    }

    test('a registry that stalls is given up, and leaves nothing', async () => {
      const image = imageSaying(randomBytes(8).toString('hex'))
      const { uri, repository } = serve(image, (request, response) => {
        if (!isBlob(request, image.layers[0])) return false
        response.writeHead(200, { 'content-length': 1000 })
        response.write('x')
        return true
      })
      const { dataDir, pending } = makeData()
      const stalling = await openImages(dataDir, { stallMs: 1000 })
      await expect(stalling.lease({ uri }, soon())).rejects.toMatchObject({
        failure: 'registry_failed',
        message: expect.stringContaining('has sent nothing for 1 seconds'),
      })
      expect([pending(), docker('images', '--all', '--digests')]).toEqual([
        [],
        expect.not.stringContaining(repository),
      ])
    })

    test('control that is killed while the daemon pulls leaves nothing after its next start', async () => {
      const image = imageSaying(randomBytes(8).toString('hex'))
      const stuck = Promise.withResolvers<ServerResponse>()
      const { uri, repository } = serve(image, (request, response) => {
        if (!isBlob(request, image.layers[0])) return false
        response.writeHead(200, { 'content-length': 1000 })
        response.write('x', () => stuck.resolve(response))
        return true
      })
      const { dataDir, pending } = makeData()
      const fixture = join(import.meta.dirname, '../fixtures/pull-docker-image.ts')
      const control = fork(fixture, [dataDir, opened.docker?.socketPath ?? '', uri])
      const response = await stuck.promise
      expect(pending()).toHaveLength(1)
      control.kill('SIGKILL')
      // The daemon gives up what nobody listens to, once it hears of its registry again.
      response.destroy()
      hostile.fault = () => false
      // Another one had ended, and was not named yet.
      const { host = '' } = opened.docker ?? {}
      const full = `${hostile.host}/${repository}@${image.digest}`
      // The registry is this process, so it must not be waited for in one go.
      await promisify(execFile)('docker', ['--host', host, 'pull', '--quiet', full])
      const images = await openImages(dataDir)
      expect([pending(), docker('images', '--all', '--digests')]).toEqual([
        [],
        expect.not.stringContaining(repository),
      ])
      using lease = await images.lease({ uri }, soon())
      expect(lease.image.digest).toBe(image.digest)
    })
  }
})
