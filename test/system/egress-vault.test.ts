// Secrets that programs in a sandbox use and never see: the whole product, with the clients that people use and their own ways to
// trust servers. Needs root.

import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Edge, startEdge } from '../support/edge.ts'
import { pythonWith } from '../support/python-sdk.ts'
import { createProductClient, type ProductClient } from './egress/product.ts'
import { ADDRESS, ELSEWHERE, openServers, type Servers } from './vault/servers.ts'

const SECRET = 'tok-very-secret-41'
const API = 'api.vault.example'
const PLAIN = 'plain.vault.example'
const OTHER = 'other.vault.example'
/** No name server knows it (contract: egress.md 9, 12). */
const PINNED = 'e2e.vault.test'
const hasGo = spawnSync('go', ['version']).status === 0
/** The image has all of /usr, where Debian's Java has links to here. */
const JAVA_SETTINGS = '/etc/java-17-openjdk'
const hasJava = spawnSync('javac', ['-version']).status === 0 && existsSync(JAVA_SETTINGS)

let servers: Servers
let edge: Edge
let product: ProductClient
let sandbox: string
let folder: string
let config: string
/** Where the packages of Python lie that are mounted. */
let packages: string

const POLICY = {
  defaultAction: 'deny',
  egress: [API, PLAIN, OTHER, PINNED].map((target) => ({ action: 'allow', target })),
}
const VAULT = {
  credentials: [{ name: 'token', source: { value: SECRET } }],
  bindings: [
    {
      name: 'api',
      match: { hosts: [API], methods: ['GET', 'POST'], paths: ['/*'] },
      auth: { type: 'bearer', credential: 'token' },
    },
    {
      name: 'plain',
      match: { hosts: [PLAIN, PINNED], schemes: ['http'] },
      auth: { type: 'apiKey', name: 'X-Key', credential: 'token' },
    },
  ],
}

beforeAll(async () => {
  const python = await pythonWith('requests==2.32.5')
  const where = ['-c', 'import requests; print(requests.__path__[0])']
  packages = join(execFileSync(python, where, { encoding: 'utf8' }).trim(), '..')
  folder = mkdtempSync(join(tmpdir(), 'vault-'))
  servers = await openServers({
    folder,
    names: [API, PLAIN, OTHER, PINNED],
    zone: { [API]: ADDRESS, [PLAIN]: ADDRESS, [OTHER]: ADDRESS },
  })
  const shared = join(folder, 'shared')
  mkdirSync(shared)
  writeClients(shared)
  config = `[egress]
upstream_dns = ["127.0.0.1:${servers.dnsPort}"]
upstream_ca_file = "${servers.caFile}"
host_pins = ["${PINNED}=${ADDRESS}"]
[storage]
allowed_host_paths = ["${shared}", "${JAVA_SETTINGS}", "/var/cache/opensandbox-test"]
`
  edge = await startEdge({ config })
  product = createProductClient(edge)
  sandbox = await create({ credentialProxy: { enabled: true } })
  const vault = await ask(sandbox, 'POST', 'credential-vault', VAULT)
  expect([vault.status, vault.text]).toEqual([201, expect.stringContaining('"revision":1')])
}, 240_000)

afterAll(async () => {
  await edge?.dispose()
  await servers?.close()
  rmSync(folder, { recursive: true, force: true })
})

describe('C13: programs that trust in ways of their own get the secret sent, and nothing to read', () => {
  test.each([
    ['curl, by HTTP/2', `curl -sS --http2 https://${API}/curl`],
    ['curl, by HTTP/1.1', `curl -sS --http1.1 https://${API}/curl1`],
    ['git', `git ls-remote https://${API}/git; true`],
    ['Python, urllib', `python3 -c "import urllib.request as r; r.urlopen('https://${API}/urllib').read()"`],
    ['Node, fetch', `node -e "fetch('https://${API}/node').then((r) => r.text())"`],
    ['wget', `command -v wget >/dev/null && wget -qO- https://${API}/wget || curl -sS https://${API}/wget`],
    [
      'openssl, by the system alone',
      `env -u SSL_CERT_FILE sh -c 'printf "GET /openssl HTTP/1.1\\r\\nHost: ${API}\\r\\nConnection: close\\r\\n\\r\\n" | openssl s_client -quiet -verify_return_error -CAfile /etc/ssl/certs/ca-certificates.crt -connect ${API}:443 -servername ${API}'`,
    ],
    ['a program of Go without a word of where to look', hasGo ? '/shared/client' : ''],
    ['Java', hasJava ? '/usr/bin/java -cp /shared Client' : ''],
    [
      'Python, requests',
      `PYTHONPATH=/packages python3 -c "import requests; requests.get('https://${API}/requests')"`,
    ],
  ])('%s', async (name, command) => {
    if (command === '') {
      console.warn(`${name}: this machine has no compiler for it`)
      return
    }
    const path = command.includes(`${API}/`)
      ? new RegExp(`${API}(/\\w+)`).exec(command)?.[1]
      : `/${name.startsWith('Java') ? 'java' : name.startsWith('openssl') ? 'openssl' : 'go'}`
    const output = await product.run(sandbox, command)
    const arrived = await servers
      .arrived((request) => request.path.startsWith(String(path)))
      .catch((error) => {
        throw new Error(`${error.message}\n${output}`)
      })
    expect(arrived, output).toMatchObject({ scheme: 'https', host: API, authorization: `Bearer ${SECRET}` })
    expect(output).not.toContain(SECRET)
  })
})

test('a large body is sent with the secret', async () => {
  const output = await product.run(
    sandbox,
    `head -c 3000000 /dev/zero | curl -sS --data-binary @- https://${API}/large`,
  )
  expect(output).toContain('arrived https')
  const arrived = await servers.arrived(({ path }) => path === '/large')
  expect(arrived.authorization).toBe(`Bearer ${SECRET}`)
})

test('C5: an answer that repeats the secret in a header shows it to nobody', async () => {
  const output = await product.run(sandbox, `curl -sS -D- https://${API}/echo`)
  expect(output).toMatch(/x-echo: got .*\[REDACTED\]/i)
  expect(output).not.toContain(SECRET)
})

test('C1: nobody else gets the secret: another name, another address, another Host, a redirect', async () => {
  // Servers that are not read show a certificate that only the machine trusts.
  const commands = [
    `curl -skS -m 10 https://${OTHER}/c1-other`,
    `curl -skS -m 10 --connect-to ${API}:443:${ELSEWHERE}:443 https://${API}/c1-address`,
    `curl -skS -m 10 -H 'Host: ${API}' https://${OTHER}/c1-host`,
    `curl -skS -m 10 --http1.1 -H 'Host: ${API}' https://${OTHER}/c1-host1`,
    `curl -skS -m 10 -L https://${API}/away`,
    `curl -skS -m 10 http://${API}/c1-downgrade`,
  ]
  for (const command of commands) await product.run(sandbox, command)
  await servers.arrived(({ path }) => path === '/landed')
  const wrong = servers.all.filter(
    ({ host, scheme, path, ...told }) =>
      (host !== API || scheme !== 'https' || path.startsWith('/c1')) && JSON.stringify(told).includes(SECRET),
  )
  expect(wrong.filter(({ host }) => host !== PLAIN && host !== PINNED)).toEqual([])
})

test('C8: after a rotation the next request has the new secret, and after the deletion none', async () => {
  const before = await ask(sandbox, 'PATCH', 'credential-vault', {
    credentials: { replace: [{ name: 'token', source: { value: `${SECRET}-new` } }] },
  })
  expect(before.status).toBe(200)
  await product.run(sandbox, `curl -sS https://${API}/rotated`)
  expect((await servers.arrived(({ path }) => path === '/rotated')).authorization).toBe(
    `Bearer ${SECRET}-new`,
  )
  expect((await ask(sandbox, 'DELETE', 'credential-vault')).status).toBe(204)
  await product.run(sandbox, `curl -skS https://${API}/deleted`)
  expect((await servers.arrived(({ path }) => path === '/deleted')).authorization).toBeUndefined()
  expect((await ask(sandbox, 'POST', 'credential-vault', VAULT)).status).toBe(201)
})

test('by plain HTTP, to a name that only the operator knows an address of, by an address that was never answered', async () => {
  const output = await product.run(
    sandbox,
    `curl -sS --resolve ${PINNED}:80:${ADDRESS} http://${PINNED}/pinned`,
  )
  const arrived = await servers
    .arrived(({ path }) => path === '/pinned')
    .catch((error) => {
      throw new Error(`${error.message}\n${output}`)
    })
  expect(arrived).toMatchObject({ scheme: 'http', host: PINNED, key: SECRET })
})

test('C2: what is written to the vault passes outside of the sandbox, and nothing in the sandbox holds it', async () => {
  const answer = await fetch(`${edge.url}/v1/sandboxes/${sandbox}/endpoints/18080`)
  const { headers } = (await answer.json()) as { headers: Record<string, string> }
  const [token = ''] = Object.values(headers)
  const found = await product.run(
    sandbox,
    `grep -rlsE '${SECRET.slice(0, -1)}[1]|${token.slice(0, -1)}[${token.at(-1)}]' /opt /run /etc /root /tmp /workspace /proc/[0-9]*/environ /proc/[0-9]*/cmdline; echo searched`,
  )
  expect(found.trim()).toBe('searched')
})

test('C11: what a sandbox trusts cannot be changed from within it', async () => {
  const output = await product.run(
    sandbox,
    'for f in /opt/opensandbox/mitmproxy-ca-cert.pem /opt/opensandbox/merged-ca-certificates.pem /etc/ssl/certs/ca-certificates.crt; do test -s $f && ! (echo x >> $f) 2>/dev/null && ! rm -f $f 2>/dev/null && echo held; done',
  )
  expect(output.match(/held/g)).toHaveLength(3)
})

test('of a sandbox that does not ask for it nothing is read, and it trusts nobody more', async () => {
  const other = await create({})
  const refused = await ask(other, 'POST', 'credential-vault', VAULT)
  expect([refused.status, refused.text]).toEqual([412, expect.stringContaining('transparent mitmproxy')])
  const output = await product.run(
    other,
    `test -e /opt/opensandbox/mitmproxy-ca-cert.pem && echo an-authority; env | grep -c CA_BUNDLE; curl -sS https://${API}/unread`,
  )
  expect(output).toContain('curl: (60)')
  expect(output).not.toContain('an-authority')
  await product.remove(other)
})

test('C10: a vault outlives a restart of the product, and is nowhere on the disk or in the log as it is', async () => {
  const { dataDir, port } = edge
  await edge.stop()
  const texts = [
    edge.output(),
    ...filesBelow(join(dataDir, 'egress')).map((path) => readFileSync(path, 'latin1')),
  ]
  for (const text of texts) expect(text).not.toContain(SECRET)
  edge = await startEdge({ dataDir, port, config })
  product = createProductClient(edge)
  const state = await ask(sandbox, 'GET', 'credential-vault')
  expect([state.status, state.text]).toEqual([200, expect.stringContaining('"name":"token"')])
  await product.run(sandbox, `curl -sS https://${API}/restarted`)
  expect((await servers.arrived(({ path }) => path === '/restarted')).authorization).toBe(`Bearer ${SECRET}`)
  await product.remove(sandbox)
  expect(readdirSync(join(dataDir, 'egress/vaults'))).toEqual([])
  expect(readdirSync(join(dataDir, 'egress/authorities'))).toEqual([])
}, 120_000)

async function create(more: object): Promise<string> {
  const volume = (name: string, path: string, mountPath: string) => ({
    name,
    mountPath,
    readOnly: true,
    host: { path },
  })
  const made = await product.call('POST', '/sandboxes', {
    image: { uri: 'host' },
    entrypoint: ['sleep', '3600'],
    resourceLimits: { cpu: '2', memory: '2Gi' },
    timeout: 900,
    networkPolicy: POLICY,
    volumes: [
      volume('shared', join(folder, 'shared'), '/shared'),
      volume('packages', packages, '/packages'),
      ...(hasJava ? [volume('java', JAVA_SETTINGS, JAVA_SETTINGS)] : []),
    ],
    ...more,
  })
  return String(made.id)
}

/** Asks the endpoint of port 18080 as a client does. */
async function ask(id: string, method: string, path: string, body?: unknown) {
  const endpoint = (await product.call('GET', `/sandboxes/${id}/endpoints/18080`)) as {
    endpoint: string
    headers: Record<string, string>
  }
  const answer = await fetch(`http://${endpoint.endpoint}/${path}`, {
    method,
    headers: { ...endpoint.headers, 'content-type': 'application/json' },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  })
  return { status: answer.status, text: await answer.text() }
}

function filesBelow(directory: string): string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
}

function writeClients(target: string): void {
  if (hasGo) {
    const source = join(folder, 'client.go')
    writeFileSync(
      source,
      `package main\nimport ("net/http"; "os")\nfunc main() {\n\tos.Unsetenv("SSL_CERT_FILE")\n\tif _, err := http.Get("https://${API}/go"); err != nil {\n\t\tprintln(err.Error())\n\t}\n}\n`,
    )
    execFileSync('go', ['build', '-o', join(target, 'client'), source], {
      cwd: folder,
      env: { ...process.env, CGO_ENABLED: '0', GO111MODULE: 'off', GOFLAGS: '' },
    })
  }
  if (hasJava) {
    const source = join(folder, 'Client.java')
    writeFileSync(
      source,
      `public class Client { public static void main(String[] a) throws Exception { new java.net.URL("https://${API}/java").openStream().readAllBytes(); } }`,
    )
    execFileSync('javac', ['-d', target, source])
  }
}
