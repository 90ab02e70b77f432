// A registry of images in this process, as well or as ill behaved as a test wants it.

import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { gzipSync } from 'node:zlib'
import { onTestFinished } from 'vitest'
import { tarOf } from './tar.ts'

export type TestImage = {
  manifest: Buffer
  digest: string
  blobs: Map<string, Buffer>
  /** Those of `blobs` that are layers, the lowest first. */
  layers: string[]
}

export type TestRegistry = {
  /** `127.0.0.1:port` */
  host: string
  /** By `repository:tag`. */
  images: Map<string, TestImage>
  /** By repository: who may have it, as `user:password`. Everybody where there is none. */
  logins: Map<string, string>
  /** `GET /v2/…` of everything that was asked. */
  requests: string[]
  /** Answers in the place of the registry when it returns true. */
  fault: (request: IncomingMessage, response: ServerResponse) => boolean
}

const MANIFEST = 'application/vnd.oci.image.manifest.v1+json'
const LAYER = 'application/vnd.oci.image.layer.v1.tar+gzip'
const CONFIG = 'application/vnd.oci.image.config.v1+json'

export const digestOf = (bytes: Buffer | string) =>
  `sha256:${createHash('sha256').update(bytes).digest('hex')}`

/** An image of these layers, each a tar archive. `arch` is the machine's when absent. */
export function imageOf(tars: Buffer[], options: { arch?: string } = {}): TestImage {
  return imageOfLayers(
    tars.map((tar) => ({ packed: gzipSync(tar), diffId: digestOf(tar) })),
    options,
  )
}

/** An image of layers as they are sent. */
export function imageOfLayers(
  given: { packed: Buffer; diffId: string }[],
  { arch = process.arch === 'x64' ? 'amd64' : process.arch }: { arch?: string } = {},
): TestImage {
  const blobs = new Map<string, Buffer>()
  const put = (bytes: Buffer, mediaType: string) => {
    blobs.set(digestOf(bytes), bytes)
    return { mediaType, digest: digestOf(bytes), size: bytes.length }
  }
  const layers = given.map(({ packed }) => put(packed, LAYER))
  const config = put(
    Buffer.from(
      JSON.stringify({
        architecture: arch,
        os: 'linux',
        config: { Env: ['FROM_IMAGE=yes'], WorkingDir: '/srv' },
        rootfs: { type: 'layers', diff_ids: given.map(({ diffId }) => diffId) },
      }),
    ),
    CONFIG,
  )
  const manifest = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: MANIFEST, config, layers }))
  return { manifest, digest: digestOf(manifest), blobs, layers: layers.map(({ digest }) => digest) }
}

/** A layer of so many megabytes of nothing, packed into a thousandth of that. */
export function bombOf(megabytes: number): { packed: Buffer; diffId: string } {
  const zeros = Buffer.alloc(32 << 20)
  const packedZeros = gzipSync(zeros)
  const parts = Array.from({ length: megabytes / 32 }, (_, at) => [
    gzipSync(tarOf([{ name: `zeros-${at}`, data: zeros }]).subarray(0, 512)),
    packedZeros,
  ])
  // Nobody gets to where it would be compared.
  return { packed: Buffer.concat(parts.flat()), diffId: digestOf('') }
}

/** An image of one file that says what it is. */
export function imageSaying(text: string): TestImage {
  return imageOf([
    tarOf([
      { name: 'etc', type: 'directory' },
      { name: 'etc/says', data: text },
    ]),
  ])
}

/** Serves on loopback until the test is over, or what is given calls its argument. */
export async function serveRegistry(
  images: Record<string, TestImage> = {},
  atEnd: (close: () => void) => void = onTestFinished,
): Promise<TestRegistry> {
  const registry: TestRegistry = {
    host: '',
    images: new Map(Object.entries(images)),
    logins: new Map(),
    requests: [],
    fault: () => false,
  }
  const server = createServer((request, response) => {
    registry.requests.push(`${request.method} ${request.url}`)
    if (registry.fault(request, response)) return
    answer(registry, request, response)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  atEnd(() => {
    server.close()
    server.closeAllConnections()
  })
  registry.host = `127.0.0.1:${(server.address() as AddressInfo).port}`
  return registry
}

function answer(registry: TestRegistry, request: IncomingMessage, response: ServerResponse): void {
  const [, repository = '', kind, name = ''] =
    /^\/v2\/(.+)\/(manifests|blobs)\/([^/]+)$/.exec(request.url ?? '') ?? []
  const login = registry.logins.get(repository)
  const isWelcome = login === undefined || request.headers.authorization === basic(login)
  // What asks for no repository learns only whether there is anything to log in to.
  if (!isWelcome || (!kind && registry.logins.size > 0 && !request.headers.authorization)) {
    response.writeHead(401, { 'www-authenticate': 'Basic realm="test"', 'content-type': 'application/json' })
    response.end('{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}')
    return
  }
  if (!kind) return void response.end('{}')
  const own = [...registry.images].filter(([reference]) => reference.startsWith(`${repository}:`))
  const image = own.find(([reference, { digest }]) =>
    name.startsWith('sha256:') ? digest === name : reference === `${repository}:${name}`,
  )?.[1]
  const bytes =
    kind === 'manifests'
      ? image?.manifest
      : own.map(([, { blobs }]) => blobs.get(name)).find((blob) => blob !== undefined)
  if (!bytes) {
    response.writeHead(404, { 'content-type': 'application/json' })
    response.end(
      `{"errors":[{"code":"${kind === 'manifests' ? 'MANIFEST' : 'BLOB'}_UNKNOWN","message":"${kind === 'manifests' ? 'manifest' : 'blob'} unknown"}]}`,
    )
    return
  }
  response.writeHead(200, {
    'content-type': kind === 'manifests' ? MANIFEST : 'application/octet-stream',
    'content-length': bytes.length,
    'docker-content-digest': digestOf(bytes),
  })
  response.end(request.method === 'HEAD' ? undefined : bytes)
}

export const basic = (login: string) => `Basic ${Buffer.from(login).toString('base64')}`
