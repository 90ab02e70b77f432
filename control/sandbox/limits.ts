// `resourceLimits` as numbers (contract: lifecycle.md 5.5, v1.1.md 1.3). What cannot be read or cannot be held is refused:
// a limit that is silently dropped is no limit.

import { parseBytes, parseNanoCpus } from '../../lib/quantity.ts'
import { refusal } from '../errors.ts'
import type { Abilities } from '../runtime/runtime.ts'
import type { Limits } from '../store/schema.ts'

/** Below these a sandbox cannot even start its own daemon. */
const MIN_MEMORY_BYTES = 32 * 2 ** 20
const MIN_NANO_CPUS = 10_000_000
const MAX_CPUS = 4096
/** Below this there is hardly room for a file system. */
const MIN_DISK_BYTES = 16 * 2 ** 20
const MAX_GPUS = 1024
const ALL_GPUS = -1

/** What there is to give on this machine. */
export type LimitRules = {
  /** Of the runtime; everything when absent. */
  abilities?: Abilities
  /** For a sandbox whose create says nothing of its disk. */
  defaultDiskBytes?: number
}

/** Reads the limits; `ignored` names the keys that have no effect here. Throws a 400 for what cannot be read or held. */
export function parseLimits(
  resourceLimits: Record<string, string>,
  { abilities, defaultDiskBytes }: LimitRules = {},
): { limits: Limits; ignored: string[] } {
  const limits: Limits = {}
  const ignored: string[] = []
  for (const [key, value] of Object.entries(resourceLimits)) {
    if (key === 'cpu') limits.nanoCpus = parseCpu(value, abilities?.cpus)
    else if (key === 'memory') limits.memoryBytes = parseMemory(value, abilities?.memoryBytes)
    else if (key === 'disk') limits.diskBytes = parseDisk(value, abilities?.disk)
    else if (key === 'gpu') limits.gpus = parseGpu(value, abilities?.gpus)
    else ignored.push(key)
  }
  if (limits.diskBytes === undefined && defaultDiskBytes !== undefined) limits.diskBytes = defaultDiskBytes
  return { limits, ignored }
}

/** `500m` or `0.5` as billionths of a CPU, of which the machine has `most`. */
export function parseCpu(value: string, most?: number): number {
  const nanoCpus = parseNanoCpus(value)
  if (nanoCpus === undefined)
    return refuse('cpu', 'must be a number of CPUs such as "0.5", or thousandths such as "500m"')
  if (nanoCpus < MIN_NANO_CPUS || nanoCpus > MAX_CPUS * 1e9)
    return refuse('cpu', `must be from "10m" to "${MAX_CPUS}"`)
  if (most !== undefined && nanoCpus > most * 1e9)
    return refuse(
      'cpu',
      `must be at most "${most}", as this machine has so many CPUs, but it is "${value.trim()}"`,
    )
  return nanoCpus
}

/** `512Mi`, `2G` or a number of bytes, as bytes, of which the machine has `most`. */
export function parseMemory(value: string, most?: number): number {
  const bytes = parseBytes(value)
  if (bytes === undefined)
    return refuse('memory', 'must be a whole number with a unit such as "512Mi" or "2G", or of bytes')
  if (bytes < MIN_MEMORY_BYTES || bytes > Number.MAX_SAFE_INTEGER)
    return refuse('memory', 'must be from "32Mi" to "8191Ti"')
  if (most !== undefined && bytes > most)
    return refuse(
      'memory',
      `must be at most ${inMebibytes(most)}, the memory of this machine, but it is "${value.trim()}"`,
    )
  return bytes
}

/** The same of a disk, where the runtime can hold it. */
export function parseDisk(value: string, most?: Abilities['disk']): number {
  const bytes = parseBytes(value)
  if (bytes === undefined)
    return refuse('disk', 'must be a whole number with a unit such as "2Gi" or "500M", or of bytes')
  if (typeof most === 'string') return refuse('disk', `cannot be held here: ${most}`)
  if (bytes < MIN_DISK_BYTES || bytes > Number.MAX_SAFE_INTEGER)
    return refuse('disk', 'must be from "16Mi" to "8191Ti"')
  if (most !== undefined && bytes > most)
    return refuse(
      'disk',
      `must be at most ${inMebibytes(most)}, the size of this machine's disk, but it is "${value.trim()}"`,
    )
  return bytes
}

/** A number of GPUs, or -1 for `all`. */
export function parseGpu(value: string, found: Abilities['gpus'] = 'any'): number {
  const text = value.trim().toLowerCase()
  const count = text === 'all' ? ALL_GPUS : /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN
  if (Number.isNaN(count) || count === 0 || count > MAX_GPUS)
    return refuse('gpu', `must be a number of GPUs from "1" to "${MAX_GPUS}", or "all"`)
  if (found !== 'any') return refuse('gpu', `cannot be given here: ${found}`)
  return count
}

function inMebibytes(bytes: number): string {
  return `"${Math.floor(bytes / 2 ** 20)}Mi"`
}

function refuse(key: string, message: string): never {
  throw refusal('SANDBOX::INVALID_PARAMETER', `resourceLimits.${key} ${message}`)
}

/** Throws when the configuration's disk cannot be held: every create without a disk of its own would be refused, or not be limited at all. */
export function requireDefaultDisk(bytes: number | undefined, ability: Abilities['disk'] | undefined): void {
  if (bytes === undefined || ability === undefined) return
  const problem =
    typeof ability === 'string'
      ? ability
      : bytes < MIN_DISK_BYTES || bytes > ability
        ? `it must be from ${MIN_DISK_BYTES} to ${ability} bytes`
        : undefined
  if (problem !== undefined) throw new Error(`runtime.default_disk cannot be held: ${problem}`)
}
