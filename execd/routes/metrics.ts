// GET /metrics and /metrics/watch (contract: execd.md 9.1).

import type { ServerResponse } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import type { Metrics } from '../../lib/api/execd-metrics.ts'
import { messageOf } from '../../lib/errors.ts'
import { EVENT_STREAM_HEADERS, formatEvent } from '../../lib/sse.ts'
import type { Family } from '../family.ts'
import { answerJson } from '../http/answer.ts'
import { type CpuUse, createCpuMeter } from '../metrics/cpu-meter.ts'
import { createReadings, type Readings, readDisk } from '../metrics/read.ts'
import type { Surroundings } from '../surroundings.ts'

const EVERY_MS = 1000
/** How long the last bytes of the streams may take when execd ends. */
const LAST_BYTES_MS = 500

export function metricsFamily({ workdir, log }: Surroundings): Family {
  const readings = createReadings()
  const useOfCpus = createCpuMeter({ read: readings.cpu })
  const stop = new AbortController()
  const watching = new Set<Promise<void>>()

  const watch = async (response: ServerResponse): Promise<void> => {
    const left = new AbortController()
    response.once('close', () => left.abort())
    const signal = AbortSignal.any([left.signal, stop.signal])
    response.writeHead(200, EVENT_STREAM_HEADERS)
    response.flushHeaders()
    // Its own, so that another reader's visit does not shorten what a sample is about.
    const useSinceLast = createCpuMeter({ read: readings.cpu })
    let due = performance.now()
    try {
      while (!signal.aborted) {
        const metrics = await measure(readings, await useSinceLast(), workdir)
        // Old samples are of no use to a client that does not keep up.
        if (!response.writableNeedDrain) response.write(formatEvent(metrics))
        // Samples that a pause of the sandbox has swallowed are not made up for.
        due = Math.max(due + EVERY_MS, performance.now())
        await delay(due - performance.now(), undefined, { signal })
      }
    } catch (error) {
      if (!signal.aborted) log.error('cannot read metrics', { error: messageOf(error) })
    }
    response.end()
    await finished(response)
  }

  return {
    routes: {
      'GET /metrics': async ({ response }) =>
        answerJson(response, 200, await measure(readings, await useOfCpus(), workdir)),
      'GET /metrics/watch': ({ response }) => {
        const done = watch(response).finally(() => watching.delete(done))
        watching.add(done)
        return done
      },
    },
    endAll: async () => {
      stop.abort()
      const over = new AbortController()
      const late = delay(LAST_BYTES_MS, undefined, { signal: over.signal }).catch(() => {})
      await Promise.race([Promise.all(watching), late])
      over.abort()
    },
  }
}

/** Resolves when all of an answer has been handed to the system, or its client has left. */
function finished(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    if (response.writableFinished || response.destroyed) return resolve()
    response.once('finish', resolve)
    response.once('close', resolve)
  })
}

async function measure(readings: Readings, cpu: CpuUse, workdir: string): Promise<Metrics> {
  const disk = await readDisk(workdir)
  const memory = readings.memory()
  const network = readings.network()
  const oomKills = readings.oomKills()
  const percent = round(cpu.percent)
  const memoryMib = { total: toMib(memory.totalBytes), used: toMib(memory.usedBytes) }
  return {
    cpu_count: round(cpu.cpus),
    cpu_used_pct: percent,
    mem_total_mib: memoryMib.total,
    mem_used_mib: memoryMib.used,
    timestamp: Date.now(),
    cpu_used_percentage: percent,
    memory_total_in_mib: memoryMib.total,
    memory_used_in_mib: memoryMib.used,
    ...(disk && {
      disk_total_mib: toMib(disk.totalBytes),
      disk_used_mib: toMib(disk.usedBytes),
      disk_free_mib: toMib(disk.freeBytes),
    }),
    ...(network && { network_received_bytes: network.received, network_sent_bytes: network.sent }),
    process_count: readings.processes(),
    ...(oomKills !== undefined && { oom_kills: oomKills }),
  }
}

function toMib(bytes: number): number {
  return round(bytes / 2 ** 20)
}

function round(value: number): number {
  return Math.round(value * 100) / 100
}
