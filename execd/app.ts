// All routes of execd, in families. Only what every sandbox needs at once is loaded at the start; a family is loaded at its
// first request, because what most sandboxes never ask for must not cost all of them their start.

import type { Commands } from './command/commands.ts'
import type { Family } from './family.ts'
import { answerEmpty } from './http/answer.ts'
import type { Handler, Routes } from './http/router.ts'
import { commandRoutes } from './routes/commands.ts'
import type { Surroundings } from './surroundings.ts'

type LateFamily = {
  names: readonly string[]
  load: (surroundings: Surroundings, commands: Commands) => Promise<Family>
}

/** The names stand here, so that a route is known before its family is loaded; a test compares the two. */
export const LATE_FAMILIES: Record<string, LateFamily> = {
  files: {
    names: [
      'GET /files/info',
      'DELETE /files',
      'POST /files/mv',
      'POST /files/permissions',
      'GET /files/search',
      'POST /files/replace',
      'POST /files/upload',
      'GET /files/download',
      'HEAD /files/download',
      'GET /files/watch',
      'GET /directories/list',
      'POST /directories',
      'DELETE /directories',
      'GET /directories/archive',
      'POST /directories/archive',
    ],
    load: async (surroundings) => (await import('./routes/files.ts')).fileFamily(surroundings),
  },
  identity: {
    names: ['* /v1/filesystem/{uid}/{gid}'],
    load: async (surroundings) => (await import('./routes/filesystem.ts')).filesystemFamily(surroundings),
  },
  sessions: {
    names: ['GET /sessions', 'POST /session', 'POST /session/{sessionId}/run', 'DELETE /session/{sessionId}'],
    load: async (surroundings) => (await import('./routes/sessions.ts')).sessionFamily(surroundings),
  },
  pty: {
    names: [
      'GET /pty',
      'POST /pty',
      'GET /pty/{sessionId}',
      'DELETE /pty/{sessionId}',
      'GET /pty/{sessionId}/ws',
      'UPGRADE /pty/{sessionId}/ws',
    ],
    load: async (surroundings) => (await import('./routes/pty.ts')).ptyFamily(surroundings),
  },
  code: {
    names: [
      'POST /code',
      'DELETE /code',
      'POST /code/context',
      'GET /code/contexts',
      'DELETE /code/contexts',
      'GET /code/contexts/{contextId}',
      'DELETE /code/contexts/{contextId}',
    ],
    load: async (surroundings, commands) =>
      (await import('./routes/code.ts')).codeFamily(surroundings, commands),
  },
  isolated: {
    names: [
      'GET /v1/isolated/capabilities',
      'GET /v1/isolated/sessions',
      'POST /v1/isolated/session',
      'GET /v1/isolated/session/{id}',
      'DELETE /v1/isolated/session/{id}',
      'POST /v1/isolated/session/{id}/run',
      'GET /v1/isolated/session/{id}/runs/{runId}',
      'GET /v1/isolated/session/{id}/runs/{runId}/logs',
      'GET /v1/isolated/session/{id}/diff',
      'POST /v1/isolated/session/{id}/commit',
      '* /v1/isolated/session/{id}/files',
      '* /v1/isolated/session/{id}/directories',
    ],
    load: async (surroundings) => (await import('./routes/isolated.ts')).isolatedFamily(surroundings),
  },
  metrics: {
    names: ['GET /metrics', 'GET /metrics/watch'],
    load: async (surroundings) => (await import('./routes/metrics.ts')).metricsFamily(surroundings),
  },
  proxy: {
    names: ['* /proxy', 'UPGRADE* /proxy'],
    load: async (surroundings) => (await import('./routes/proxy.ts')).proxyFamily(surroundings),
  },
}

export type App = {
  routes: Routes
  /** Ends all that runs by the will of clients. */
  endAll(graceMs: number): Promise<void>
}

/** Puts the routes together. */
export function createApp(surroundings: Surroundings, commands: Commands): App {
  const loaded: Promise<Family>[] = []
  const ofCommands = commandRoutes(commands, surroundings)
  const routes: Routes = {
    'GET /ping': ({ response }) => answerEmpty(response),
    'HEAD /ping': ({ response }) => answerEmpty(response),
    ...ofCommands,
    // Clients interrupt by this route whatever has an id.
    'DELETE /command': async (exchange) => {
      const id = exchange.query.get('id') ?? ''
      for (const family of loaded) {
        if (await (await family).interrupt?.(id)) return answerEmpty(exchange.response)
      }
      await ofCommands['DELETE /command']?.(exchange)
    },
  }
  for (const { names, load } of Object.values(LATE_FAMILIES)) {
    let family: Promise<Family> | undefined
    const late =
      (name: string): Handler =>
      async (exchange) => {
        if (!family) {
          family = load(surroundings, commands)
          loaded.push(family)
        }
        await (await family).routes[name]?.(exchange)
      }
    for (const name of names) routes[name] = late(name)
  }
  return {
    routes,
    endAll: async (graceMs) => {
      const families = await Promise.all(loaded.map((family) => family.catch(() => undefined)))
      await Promise.all([commands.endAll(graceMs), ...families.map((family) => family?.endAll?.(graceMs))])
    },
  }
}
