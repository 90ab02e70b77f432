// Amounts of CPU and memory as users write them (contract: lifecycle.md 5.5).

const UNITS: Record<string, number> = {
  '': 1,
  b: 1,
  k: 1e3,
  m: 1e6,
  g: 1e9,
  t: 1e12,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  ki: 2 ** 10,
  mi: 2 ** 20,
  gi: 2 ** 30,
  ti: 2 ** 40,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
  tib: 2 ** 40,
}

/** `500m` or `0.5` as billionths of a CPU; undefined when it is neither. */
export function parseNanoCpus(value: string): number | undefined {
  const match = /^\s*(?:(\d{1,9})m|(\d{1,9}(?:\.\d{1,9})?|\.\d{1,9}))\s*$/.exec(value)
  if (!match) return undefined
  return match[1] === undefined ? Math.round(Number(match[2]) * 1e9) : Number(match[1]) * 1e6
}

/** `512Mi`, `2G` or a number of bytes, as bytes; undefined when it is none of them. */
export function parseBytes(value: string): number | undefined {
  const match = /^\s*(\d{1,18})\s*([a-z]{0,3})\s*$/i.exec(value)
  const unit = match ? UNITS[(match[2] ?? '').toLowerCase()] : undefined
  return match && unit !== undefined ? Number(match[1]) * unit : undefined
}
