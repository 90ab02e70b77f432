// The texts of /proc that metrics are read from. Pure.

/** The kernel's unit of CPU time in /proc/stat, which no machine of today has otherwise. */
const MS_PER_TICK = 10

/** A value of `/proc/meminfo`, in bytes. */
export function parseMeminfo(text: string, name: string): number | undefined {
  const kib = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(text)?.[1]
  return kib === undefined ? undefined : Number(kib) * 1024
}

/** How long the CPUs of the whole machine have worked since its start, and how many there are, from `/proc/stat`. */
export function parseProcStat(text: string): { usedMs: number; cpus: number } | undefined {
  const all = /^cpu +(.+)$/m.exec(text)?.[1]
  if (all === undefined) return undefined
  // user nice system idle iowait irq softirq steal; guests are counted in user and nice already.
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = all.split(' ').map(Number)
  const cpus = text.match(/^cpu\d+ /gm)?.length ?? 1
  return { usedMs: (user + nice + system + irq + softirq) * MS_PER_TICK, cpus }
}

/** How many CPUs a list such as `0-3,8` names. */
export function countCpus(list: string): number {
  return list
    .split(',')
    .map((range) => range.split('-').map(Number))
    .reduce((sum, [first = 0, last = first]) => sum + last - first + 1, 0)
}

/** What went through all interfaces but the loopback, from `/proc/net/dev`. */
export function parseNetDev(text: string): { received: number; sent: number } {
  const total = { received: 0, sent: 0 }
  for (const line of text.split('\n')) {
    const match = /^\s*([^:\s]+):\s*(.+)$/.exec(line)
    if (!match || match[1] === 'lo') continue
    const fields = match[2]?.split(/\s+/).map(Number) ?? []
    total.received += fields[0] ?? 0
    total.sent += fields[8] ?? 0
  }
  return total
}

/** How many sockets a table such as `/proc/net/tcp` has, with `state` only those in it: "01" is an open connection. */
export function countSockets(text: string, state?: string): number {
  return text
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields.length > 3 && (state === undefined || fields[3] === state)).length
}
