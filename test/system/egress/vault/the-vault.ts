// The vault that is attacked: several secrets, each for servers of its own. The values have what other ways of writing them change.

import type { Owned } from './judge-vault.ts'
import { NAMED_PORT } from './names.ts'

export const PLACEHOLDER = 'PLACE-OF-THE-KEY'

const ODD_SERVERS = ['self', 'expired', 'wrong', 'old'].map((name) => `${name}.bound.example`)

/** `label` is in every value, so that each sandbox has values of its own. */
export function vaultOf(label: string) {
  const bearer = `vs!${label}.bearer*7Qk~x'9`
  const other = `vs!${label}.other*8Rm~y'1`
  const key = `vs"${label}\\key+/=&<8>`
  const user = Buffer.from(`user-${label}:vs?pass>${label}`).toString('base64')
  const credential = (name: string, value: string) => ({ name, source: { value } })
  const binding = (name: string, match: object, auth: object) => ({
    name,
    match: { methods: ['GET', 'POST'], paths: ['/v1/*'], ...match },
    auth,
  })
  const body = {
    credentials: [
      credential('bearer', bearer),
      credential('other', other),
      credential('key', key),
      credential('user', user),
    ],
    bindings: [
      binding(
        'api',
        { hosts: ['api.bound.example', ...ODD_SERVERS] },
        {
          type: 'bearer',
          credential: 'bearer',
          substitutions: [
            { credential: 'bearer', placeholder: PLACEHOLDER, in: ['query', 'header', 'body'] },
          ],
        },
      ),
      binding(
        'twin',
        { hosts: ['twin.bound.example'] },
        { type: 'apiKey', name: 'X-Twin', credential: 'other' },
      ),
      binding(
        'port',
        { hosts: ['twin.bound.example'], ports: [NAMED_PORT] },
        { type: 'bearer', credential: 'other' },
      ),
      binding('basic', { hosts: ['basic.bound.example'] }, { type: 'basic', credential: 'user' }),
      binding(
        'plain',
        { hosts: ['plain.bound.example'], schemes: ['http'] },
        { type: 'apiKey', name: 'X-Key', credential: 'key' },
      ),
      binding('h2', { hosts: ['h2.bound.example'] }, { type: 'bearer', credential: 'bearer' }),
      binding('h2twin', { hosts: ['h2twin.bound.example'] }, { type: 'bearer', credential: 'other' }),
    ],
  }
  const secrets: Owned[] = [
    { value: bearer, at: ['tls api.bound.example', 'h2 h2.bound.example'] },
    {
      value: other,
      at: ['tls twin.bound.example', 'named port twin.bound.example', 'h2 h2twin.bound.example'],
    },
    { value: key, at: ['plain '] },
    { value: user, at: ['tls basic.bound.example'] },
    { value: `vs?pass>${label}`, at: ['tls basic.bound.example'] },
  ]
  return { body, secrets }
}
