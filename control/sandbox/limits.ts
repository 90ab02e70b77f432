// `resourceLimits` as numbers (contract: lifecycle.md 5.5, v1.1.md 1.3). What cannot be read or cannot be held is refused:
// a limit that is silently dropped is no limit.

import { parseBytes, parseNanoCpus } from '../../lib/quantity.ts'
import { refusal } from '../errors.ts'
import type { Limits } from '../store/schema.ts'

/** Below these a sandbox cannot even start its own daemon. */
const MIN_MEMORY_BYTES = 32 * 2 ** 20
const MIN_NANO_CPUS = 10_000_000
const MAX_CPUS = 4096

/** Reads the limits; `ignored` names the keys that have no effect here. Throws a 400 for what cannot be read or held. */
export function parseLimits(resourceLimits: Record<string, string>): { limits: Limits; ignored: string[] } {
  const limits: Limits = {}
  const ignored: string[] = []
  for (const [key, value] of Object.entries(resourceLimits)) {
    if (key === 'cpu') limits.nanoCpus = parseCpu(value)
    else if (key === 'memory') limits.memoryBytes = parseMemory(value)
    else if (key === 'gpu') refuse('gpu', 'this runtime gives no GPUs: leave it out')
    else ignored.push(key)
  }
  return { limits, ignored }
}

/** `500m` or `0.5` as billionths of a CPU. */
export function parseCpu(value: string): number {
  const nanoCpus = parseNanoCpus(value)
  if (nanoCpus === undefined)
    return refuse('cpu', 'must be a number of CPUs such as "0.5", or thousandths such as "500m"')
  if (nanoCpus < MIN_NANO_CPUS || nanoCpus > MAX_CPUS * 1e9)
    return refuse('cpu', `must be from "10m" to "${MAX_CPUS}"`)
  return nanoCpus
}

/** `512Mi`, `2G` or a number of bytes, as bytes. */
export function parseMemory(value: string): number {
  const bytes = parseBytes(value)
  if (bytes === undefined)
    return refuse('memory', 'must be a whole number with a unit such as "512Mi" or "2G", or of bytes')
  if (bytes < MIN_MEMORY_BYTES || bytes > Number.MAX_SAFE_INTEGER)
    return refuse('memory', 'must be from "32Mi" to "8191Ti"')
  return bytes
}

function refuse(key: string, message: string): never {
  throw refusal('SANDBOX::INVALID_PARAMETER', `resourceLimits.${key} ${message}`)
}
