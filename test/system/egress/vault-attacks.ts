// Secrets under several bindings, in sandboxes whose root tries to have them: one where nothing is open but what rules allow, and one
// where everything is that no rule denies.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { NetworkPolicy } from '../../../lib/api/network-policy.ts'
import type { Outcome, Performed } from './outcome.ts'
import type { AttackSandbox } from './product.ts'
import { VAULT_CASES } from './vault/all.ts'
import { judgeVault, strayOf } from './vault/judge-vault.ts'
import { VAULT_NAMES } from './vault/names.ts'
import { READ_OUTS, readOut } from './vault/read-out.ts'
import type { VaultServers } from './vault/servers.ts'
import { PLACEHOLDER, vaultOf } from './vault/the-vault.ts'
import type { World } from './world.ts'

export const VAULT_POLICIES = ['deny', 'allow'] as const
export type VaultPolicy = (typeof VAULT_POLICIES)[number]
/** Attacked as the sandbox of one policy, as the table names it. */
const idOf = (policy: VaultPolicy, id: string) => `${id}, ${policy}`
export const VAULT_IDS = [
  ...VAULT_POLICIES.flatMap((policy) => [...VAULT_CASES, ...READ_OUTS].map(({ id }) => idOf(policy, id))),
  'V-nowhere',
  'V-next-sandbox',
]
const RECORD_MS = 3000

/** One sandbox with its vault. */
export type Vaulted = ReturnType<typeof vaultOf> & {
  policy: VaultPolicy
  sandbox: AttackSandbox
  /** Asks the API of its egress. */
  ask(method: string, path: string, body?: unknown): Promise<{ status: number; text: string }>
}

export async function runVaultAttacks(world: World, servers: VaultServers): Promise<Outcome[]> {
  const vaulted: Vaulted[] = []
  for (const policy of VAULT_POLICIES) vaulted.push(await openVaulted(world, policy))
  const outcomes = (await Promise.all(vaulted.map((one) => attackOne(world, servers, one)))).flat()
  for (const one of vaulted) {
    const others = vaulted.filter((other) => other !== one)
    for (const outcome of await readOut(world, one, others))
      outcomes.push({ ...outcome, id: idOf(one.policy, outcome.id) })
  }
  const secrets = vaulted.flatMap((one) => one.secrets)
  const strays = (await servers.heard()).flatMap((each) => strayOf(each, secrets))
  outcomes.push({
    id: 'V-nowhere',
    what: 'all that any server has heard, together',
    seen: `${strays.length} secrets out of place`,
    arrived: strays.length > 0,
    ...(strays[0] !== undefined && { wrong: strays[0] }),
  })
  outcomes.push(await tryNext(world, servers, vaulted))
  return outcomes
}

async function openVaulted({ product }: World, policy: VaultPolicy): Promise<Vaulted> {
  const rules: NetworkPolicy = {
    defaultAction: policy,
    egress: Object.keys(VAULT_NAMES).map((target) => ({ action: 'allow', target })),
  }
  const sandbox = await product.create(rules, { credentialProxy: { enabled: true } })
  const { endpoint, headers } = (await product.call('GET', `/sandboxes/${sandbox.id}/endpoints/18080`)) as {
    endpoint: string
    headers: Record<string, string>
  }
  const ask: Vaulted['ask'] = async (method, path, body) => {
    const answer = await fetch(`http://${endpoint}/${path}`, {
      method,
      headers: { ...headers, 'content-type': 'application/json' },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(10_000),
    })
    return { status: answer.status, text: await answer.text() }
  }
  const vault = vaultOf(policy)
  const written = await ask('POST', 'credential-vault', vault.body)
  if (written.status !== 201) throw new Error(`The vault was answered ${written.status}: ${written.text}`)
  return { ...vault, policy, sandbox, ask }
}

async function attackOne(world: World, servers: VaultServers, vaulted: Vaulted): Promise<Outcome[]> {
  const { product } = world
  const { policy, sandbox, secrets } = vaulted
  const prefix = `vk${policy}`
  await using followed = product.follow(sandbox.id)
  const route = await product.run(sandbox.id, 'ip route show default')
  const facts = {
    ...{ prefix, names: Object.keys(VAULT_NAMES), placeholder: PLACEHOLDER, own: sandbox.address },
    ...{ gateway: /via (\S+)/.exec(route)?.[1] ?? '', host: '', subnet: '', neighbour: '' },
    ...{ firstPort: 0, hostPort: 0, proxyPort: 3128 },
  }
  const program = Buffer.from(formatProgram()).toString('base64')
  await product.run(sandbox.id, `echo ${program} | base64 -d > /tmp/vault.py`)
  const text = await product.run(sandbox.id, `python3 /tmp/vault.py '${JSON.stringify(facts)}'`)
  const performed = new Map<number, string>()
  for (const line of text.split('\n'))
    if (line.startsWith('RESULT ')) {
      const { number, outcome } = JSON.parse(line.slice('RESULT '.length)) as Performed
      performed.set(number, outcome)
    }
  if (performed.size === 0) throw new Error(`The program of the cases has failed:\n${text}`)
  const judgeAll = async () => {
    const heard = await servers.heard()
    const reasons = followed.events.map(({ reason }) => reason)
    return VAULT_CASES.map((one, number): Outcome => {
      const token = `${prefix}${number}x`
      const outcome = judgeVault(one, { token, seen: performed.get(number), heard, secrets, reasons })
      return { ...outcome, id: idOf(policy, one.id) }
    })
  }
  const deadline = performance.now() + RECORD_MS
  let outcomes = await judgeAll()
  // What is recorded is read now and then.
  while (outcomes.some(({ wrong }) => wrong?.startsWith('nothing like')) && performance.now() < deadline) {
    await delay(200)
    outcomes = await judgeAll()
  }
  return outcomes
}

function formatProgram(): string {
  const alone = VAULT_CASES.flatMap(({ isAlone }, number) => (isAlone ? [number] : []))
  return [
    readFileSync(join(import.meta.dirname, 'prelude.py'), 'utf8'),
    readFileSync(join(import.meta.dirname, 'vault/vault.py'), 'utf8'),
    ...VAULT_CASES.map(({ run }, number) => `case(${number}, lambda: ${run})`),
    `main({${alone.join(', ')}})`,
  ].join('\n')
}

/** The next sandboxes, one of which has the address of one that had secrets, get none of them. */
async function tryNext(world: World, servers: VaultServers, vaulted: readonly Vaulted[]): Promise<Outcome> {
  const { product } = world
  const secrets = vaulted.flatMap((one) => one.secrets)
  const before = (await servers.heard()).length
  for (const { sandbox } of vaulted) await product.remove(sandbox.id)
  const addresses = vaulted.map(({ sandbox }) => sandbox.address)
  const rules: NetworkPolicy = { defaultAction: 'allow', egress: [] }
  const next: AttackSandbox[] = []
  for (const _ of vaulted) next.push(await product.create(rules, { credentialProxy: { enabled: true } }))
  for (const { id } of next) {
    await product.run(
      id,
      'for u in https://api.bound.example https://h2.bound.example http://plain.bound.example; do curl -sk -m 3 $u/v1/ok/next; done',
    )
    await product.remove(id)
  }
  const heard = (await servers.heard()).slice(before)
  const stray = heard.find(({ text }) => secrets.some(({ value }) => text.includes(value)))
  const reached = heard.filter(({ text }) => text.includes('/v1/ok/next')).length
  const again = next.filter(({ address }) => addresses.includes(address)).length
  return {
    id: 'V-next-sandbox',
    what: 'the sandboxes after those that had secrets',
    seen: `${again} at the same address, ${reached} requests arrived`,
    arrived: stray !== undefined,
    ...(stray && { wrong: 'one has got the secret of another' }),
    ...(reached === 0 && { wrong: 'none of their requests has arrived' }),
  }
}
