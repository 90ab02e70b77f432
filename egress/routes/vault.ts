// The credential vault of a sandbox (contract: egress.md 2.2, 6), beside its policy. Secrets come in here and never go out again.

import { type Context, Hono } from 'hono'
import { ApiError } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import type { Sandbox } from '../sandbox-table.ts'
import type { Sandboxes } from '../sandboxes.ts'
import { parseMutation, parseVault } from '../vault/parse.ts'
import {
  presentBinding,
  presentBindings,
  presentCredential,
  presentCredentials,
  presentVault,
} from '../vault/present.ts'
import type { SandboxVaults } from '../vault/sandbox-vaults.ts'
import type { Vault } from '../vault/vault.ts'
import { readBody } from './body.ts'
import { json, methodNotAllowed, requireCaller, requireSandbox } from './caller.ts'

export type VaultDeps = {
  sandboxes: Sandboxes
  vaults: SandboxVaults
  /** Where requests are read, and secrets can be put in. */
  ports: readonly number[]
  /** Takes secrets only from clients that speak TLS to the gateway, or to one in front of it that it trusts. */
  requiresTls?: boolean
  log: Logger
}

const METHODS = 'GET, POST, PATCH, DELETE'
const CAME_BY = 'X-Forwarded-Proto'

export function vaultRoutes({ sandboxes, vaults, ports, requiresTls = false, log }: VaultDeps): Hono {
  const routes = new Hono()

  // What the data path sees is nobody's to ask for (contract: egress.md 2.2).
  routes.all('/sandboxes/:id/credential-vault/_active', (context) => {
    requireSandbox(sandboxes, context)
    if (context.req.method !== 'GET') throw methodNotAllowed(context, 'GET')
    throw new ApiError(403, 'FORBIDDEN', 'forbidden')
  })

  routes.all('/sandboxes/:id/credential-vault', async (context) => {
    const sandbox = requireCaller(sandboxes, context)
    switch (context.req.method) {
      case 'GET':
      case 'HEAD':
        return json(context, presentVault(vaults.get(sandbox.id)))
      case 'POST':
        return await create(context, sandbox)
      case 'PATCH':
        return await change(context, sandbox)
      case 'DELETE':
        return await remove(context, sandbox)
      default:
        throw methodNotAllowed(context, METHODS)
    }
  })

  read('credentials', (vault) => ({ revision: vault.revision, credentials: presentCredentials(vault) }))
  read('credentials/:name', (vault, name) => {
    const credential = vault.credentials.get(name)
    if (credential) return presentCredential(credential)
    throw new ApiError(404, 'NOT_FOUND', 'credential not found')
  })
  read('bindings', (vault) => ({ revision: vault.revision, bindings: presentBindings(vault) }))
  read('bindings/:name', (vault, name) => {
    const binding = vault.bindings.get(name)
    if (binding) return presentBinding(vault, binding)
    throw new ApiError(404, 'NOT_FOUND', 'binding not found')
  })

  routes.all('/sandboxes/:id/credential-vault/*', (context) => {
    requireCaller(sandboxes, context)
    throw new ApiError(404, 'NOT_FOUND', 'not found')
  })
  return routes

  function read(path: string, show: (vault: Vault, name: string) => unknown): void {
    routes.all(`/sandboxes/:id/credential-vault/${path}`, (context) => {
      const { id } = requireCaller(sandboxes, context)
      if (context.req.method !== 'GET') throw methodNotAllowed(context, 'GET')
      return json(context, show(vaults.get(id), context.req.param('name') ?? ''))
    })
  }

  async function create(context: Context, sandbox: Sandbox): Promise<Response> {
    requireWritable(context, sandbox)
    const body = parseVault(await readBody(context.req.raw), { ports })
    const vault = await sandboxes.inTurn(sandbox.id, ({ id, policy }) => vaults.create(id, body, policy))
    report(sandbox, 'created', vault)
    return json(context, presentVault(vault), 201)
  }

  async function change(context: Context, sandbox: Sandbox): Promise<Response> {
    requireWritable(context, sandbox)
    const mutation = parseMutation(await readBody(context.req.raw), { ports })
    const vault = await sandboxes.inTurn(sandbox.id, ({ id, policy }) => vaults.change(id, mutation, policy))
    report(sandbox, 'changed', vault)
    return json(context, presentVault(vault))
  }

  async function remove(context: Context, sandbox: Sandbox): Promise<Response> {
    requireWritable(context, sandbox)
    await sandboxes.inTurn(sandbox.id, ({ id }) => vaults.delete(id))
    log.info('credential vault deleted', { sandbox: sandbox.id })
    return context.body(null, 204)
  }

  /** The gateway says by what its client came, and nobody else reaches this API (contract: egress.md 6.2). */
  function requireWritable(context: Context, sandbox: Sandbox): void {
    requireInterception(sandbox)
    if (!requiresTls || context.req.header(CAME_BY) === 'https') return
    throw new ApiError(
      426,
      'TLS_REQUIRED',
      'the credential vault is written by https alone: egress.vault_require_tls is on, and this request came by http',
    )
  }

  /** What changed, by numbers: names are the tenant's. */
  function report({ id }: Sandbox, what: string, { revision, credentials, bindings }: Vault): void {
    log.info(`credential vault ${what}`, {
      sandbox: id,
      revision,
      credentials: credentials.size,
      bindings: bindings.size,
    })
  }
}

/** Only a sandbox that was made to trust the authority that its requests are read by can use one. */
function requireInterception({ credentialProxy }: Sandbox): void {
  if (!credentialProxy)
    throw new ApiError(
      412,
      'NOT_ENABLED',
      'the credential vault needs a sandbox that was created with credentialProxy.enabled: transparent mitmproxy is not enabled for this one',
    )
}
