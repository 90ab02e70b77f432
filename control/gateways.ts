// What the gateways on this machine say of themselves, each of their processes on a socket of its own (lib/api/gateway-admin.ts): their
// numbers, added up, and what is under way.

import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type {
  Family,
  GatewayConnections,
  GatewayFigures,
  LiveConnection,
  Sample,
} from '../lib/api/gateway-admin.ts'
import { messageOf, systemCodeOf } from '../lib/errors.ts'
import { GATEWAY_SOCKET_PREFIX } from '../lib/instance.ts'
import type { Logger } from '../lib/log.ts'
import { ask } from './ask.ts'

const TIMEOUT_MS = 1000
const MAX_ANSWER_BYTES = 8 * 1024 * 1024

export type Gateways = {
  /** The numbers of all, as Prometheus reads them; empty when there is no gateway. */
  formatMetrics(): Promise<string>
  connections(): Promise<GatewayConnections>
}

export function createGateways({ runDir, log }: { runDir: string; log: Logger }): Gateways {
  /** The answers of all that answer. */
  async function askAll<Answer>(path: string): Promise<Answer[]> {
    // Without a directory there is no gateway.
    const names = await readdir(runDir).catch(() => [])
    const sockets = names.filter((name) => name.startsWith(GATEWAY_SOCKET_PREFIX))
    const answers = await Promise.all(
      sockets.map(async (name): Promise<Answer | undefined> => {
        const socketPath = join(runDir, name)
        try {
          const { status, body } = await ask({
            socketPath,
            method: 'GET',
            path,
            maxAnswerBytes: MAX_ANSWER_BYTES,
            signal: AbortSignal.timeout(TIMEOUT_MS),
          })
          return status === 200 ? (JSON.parse(body.toString()) as Answer) : undefined
        } catch (error) {
          // It was killed, and left its socket.
          if (systemCodeOf(error) === 'ECONNREFUSED') await rm(socketPath, { force: true })
          else log.debug('a gateway does not answer', { socketPath, error: messageOf(error) })
          return undefined
        }
      }),
    )
    return answers.filter((answer) => answer !== undefined)
  }

  return {
    async formatMetrics() {
      return formatFamilies(addUp(await askAll<GatewayFigures>('/figures')))
    },
    async connections() {
      const answers = await askAll<GatewayConnections>('/connections')
      const all = answers.flatMap(({ connections }) => connections)
      return {
        connections: all.sort((a: LiveConnection, b) => b.ageMs - a.ageMs),
        leftOut: answers.reduce((sum, { leftOut }) => sum + leftOut, 0),
      }
    },
  }
}

/** One family for each name, with the numbers of all processes in one. */
export function addUp(figures: GatewayFigures[]): Family[] {
  const families = new Map<string, { family: Family; samples: Map<string, Sample> }>()
  for (const family of figures.flatMap((each) => each.families)) {
    const known = families.get(family.name) ?? { family, samples: new Map() }
    families.set(family.name, known)
    for (const { labels, value } of family.samples) {
      const key = JSON.stringify(labels)
      known.samples.set(key, { labels, value: (known.samples.get(key)?.value ?? 0) + value })
    }
  }
  return [...families.values()].map(({ family, samples }) => ({ ...family, samples: [...samples.values()] }))
}

export function formatFamilies(families: Family[]): string {
  return families
    .map(({ name, help, type, samples }) => {
      const lines = samples.flatMap(({ labels, value }) => {
        const shown = formatLabels(labels)
        if (type !== 'histogram') return [`${name}${shown} ${value}`]
        if (labels.le === undefined) return [`${name}_sum${shown} ${value}`]
        const { le, ...others } = labels
        const bucket = `${name}_bucket${shown} ${value}`
        return le === '+Inf' ? [bucket, `${name}_count${formatLabels(others)} ${value}`] : [bucket]
      })
      return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join('\n')}\n`
    })
    .join('')
}

function formatLabels(labels: Record<string, string>): string {
  const parts = Object.entries(labels).map(([name, value]) => `${name}=${JSON.stringify(value)}`)
  return parts.length === 0 ? '' : `{${parts.join(',')}}`
}
