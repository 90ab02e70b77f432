// Secrets are read nowhere else: not by the API, in no file and no process of the sandbox, in no log; and what one sandbox trusts says
// nothing to another.

import { X509Certificate } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Outcome } from '../outcome.ts'
import type { Vaulted } from '../vault-attacks.ts'
import type { World } from '../world.ts'
import { shows } from './judge-vault.ts'

type Look = (
  world: World,
  vaulted: Vaulted,
  others: readonly Vaulted[],
) => Promise<{ seen: string; wrong?: string }>

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g

export const READ_OUTS: readonly { id: string; what: string; look: Look }[] = [
  { id: 'V-read-api', what: 'every question that the API of egress and of control answers', look: lookAtApi },
  {
    id: 'V-read-active',
    what: 'what egress itself sees of the vault, asked for by its API',
    look: lookAtActive,
  },
  { id: 'C2-inside', what: 'files, arguments and environments of the sandbox', look: lookInside },
  { id: 'V-read-log', what: 'what the programs have written', look: lookAtLog },
  { id: 'V-read-disk', what: 'what egress keeps on the disk', look: lookAtDisk },
  { id: 'V-read-core', what: 'what is left when egress crashes', look: lookAtCore },
  { id: 'V-authority', what: 'the authority of one sandbox, shown to another', look: lookAtAuthority },
]

export async function readOut(
  world: World,
  vaulted: Vaulted,
  others: readonly Vaulted[],
): Promise<Outcome[]> {
  const outcomes: Outcome[] = []
  for (const { id, what, look } of READ_OUTS)
    outcomes.push({ id, what, arrived: false, ...(await look(world, vaulted, others)) })
  return outcomes
}

const found = (text: string, { secrets }: Vaulted) => secrets.some(({ value }) => shows(text, value))

async function lookAtApi({ edge, product }: World, vaulted: Vaulted): ReturnType<Look> {
  const { sandbox, ask } = vaulted
  const texts: string[] = []
  const paths = [
    ...['', '/credentials', '/credentials/bearer', '/bindings', '/bindings/api'].map(
      (path) => `credential-vault${path}`,
    ),
    'policy',
  ]
  for (const path of paths) texts.push((await ask('GET', path)).text)
  // Refusals, which might repeat what was sent.
  const twice = { credentials: [...vaulted.body.credentials, ...vaulted.body.credentials] }
  for (const body of [twice, { ...vaulted.body, more: 1 }, { bindings: { add: vaulted.body.credentials } }])
    texts.push((await ask('POST', 'credential-vault', body)).text)
  const at = `/sandboxes/${sandbox.id}`
  for (const path of [
    ...['', '/networkpolicy', '/networkpolicy/events?limit=500', '/networkpolicy/learn'],
    ...['/networkpolicy/explain?target=api.bound.example', '/diagnostics/logs?scope=container'],
    '/diagnostics/events?scope=runtime',
  ])
    texts.push(await product.call('GET', `${at}${path}`).then(JSON.stringify, String))
  texts.push(await (await fetch(`${edge.url}/metrics`)).text())
  const shown = texts.find((text) => found(text, vaulted))
  return {
    seen: `${texts.length} answers`,
    ...(shown && { wrong: `an answer has it: ${shown.slice(0, 80)}` }),
  }
}

async function lookAtActive(_: World, { ask }: Vaulted): ReturnType<Look> {
  const { status, text } = await ask('GET', 'credential-vault/_active')
  return { seen: `${status} ${text.trim()}`, ...(status !== 403 && { wrong: 'it was to be forbidden' }) }
}

async function lookInside({ product }: World, vaulted: Vaulted): ReturnType<Look> {
  // A class of one character, so that the words of the question are no answer to it.
  const words = `vs[!]${vaulted.policy}[.]|vs["]${vaulted.policy}|vs[?]pass[>]`
  const text = await product.run(
    vaulted.sandbox.id,
    `grep -rlsaE '${words}' /opt /run /etc /root /tmp /var /home /workspace /dev/shm /proc/[0-9]*/environ /proc/[0-9]*/cmdline --exclude-dir=commands 2>/dev/null; grep -lsE '[e]gress/main|[c]ontrol/main' /proc/[0-9]*/cmdline; ls /opt/opensandbox/trust; echo searched`,
  )
  const lines = text.trim().split('\n')
  const wrong = lines.filter((line) => line.startsWith('/') || /key/i.test(line))
  return {
    seen: lines.join(' '),
    ...(wrong.length > 0 && { wrong: `found in ${wrong.join(', ')}` }),
    ...(lines.at(-1) !== 'searched' && { wrong: 'it was not looked through' }),
  }
}

async function lookAtLog({ edge }: World, vaulted: Vaulted): ReturnType<Look> {
  const text = edge.output()
  return { seen: `${text.length} characters`, ...(found(text, vaulted) && { wrong: 'it is in the log' }) }
}

async function lookAtDisk({ edge }: World, vaulted: Vaulted): ReturnType<Look> {
  const below = { recursive: true, withFileTypes: true } as const
  const files = [
    ...readdirSync(edge.dataDir, { withFileTypes: true }),
    ...readdirSync(join(edge.dataDir, 'egress'), below),
  ]
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
  const bad = files.find((file) => found(readFileSync(file, 'latin1'), vaulted))
  return { seen: `${files.length} files`, ...(bad && { wrong: `it is in ${bad}` }) }
}

async function lookAtCore({ edge }: World): ReturnType<Look> {
  const pid = readdirSync('/proc').find((name) => isEgressOf(name, edge.launcherPid))
  if (pid === undefined) return { seen: '', wrong: 'egress does not run' }
  const filter = readFileSync(`/proc/${pid}/coredump_filter`, 'utf8').trim()
  return { seen: `coredump_filter ${filter}`, ...(Number(filter) !== 0 && { wrong: 'a core would have it' }) }
}

function isEgressOf(pid: string, launcherPid: number): boolean {
  if (!/^\d+$/.test(pid)) return false
  try {
    const isChild = new RegExp(`^PPid:\\s+${launcherPid}$`, 'm').test(
      readFileSync(`/proc/${pid}/status`, 'utf8'),
    )
    return isChild && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('egress/main.ts')
  } catch {
    return false // it has ended meanwhile
  }
}

async function lookAtAuthority(
  { product }: World,
  own: Vaulted,
  others: readonly Vaulted[],
): ReturnType<Look> {
  const shown = async ({ sandbox }: Vaulted) => {
    const text = await product.run(
      sandbox.id,
      'cat /opt/opensandbox/mitmproxy-ca-cert.pem; openssl s_client -connect api.bound.example:443 -servername api.bound.example < /dev/null 2>/dev/null | openssl x509',
    )
    const [authority = '', leaf = ''] = text.match(CERTIFICATE) ?? []
    return { authority: new X509Certificate(authority), leaf: new X509Certificate(leaf) }
  }
  const { authority, leaf } = await shown(own)
  const problems: string[] = []
  if (!authority.ca || leaf.ca) problems.push('a certificate of a server could sign others')
  if (!leaf.verify(authority.publicKey)) problems.push('the sandbox does not trust what it is shown')
  for (const other of others)
    if (leaf.verify((await shown(other)).authority.publicKey)) problems.push('another sandbox trusts it, too')
  return { seen: authority.subject.replaceAll('\n', ' '), ...(problems[0] && { wrong: problems[0] }) }
}
