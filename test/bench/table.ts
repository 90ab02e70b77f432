// How every benchmark shows what it measured: one table, our figure beside its peer's and its budget.

export type BenchRow = {
  name: string
  unit: string
  ours: number
  /** The same, measured in the same run, with something that is known to be good. */
  peer?: { name: string; value: number }
  /** What we promised; `max` for times and sizes, `min` for rates and ratios. */
  budget?: { max?: number; min?: number }
}

/** Prints rows as an aligned table. */
export function printTable(title: string, rows: BenchRow[]): void {
  const lines = [['', 'ours', 'unit', 'peer', 'ratio', 'budget', ''], ...rows.map(formatRow)]
  const widths =
    lines[0]?.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0))) ?? []
  console.log(`\n${title}`)
  for (const line of lines)
    console.log(
      line
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
}

function formatRow({ name, unit, ours, peer, budget }: BenchRow): string[] {
  const isMissed =
    (budget?.max !== undefined && ours > budget.max) || (budget?.min !== undefined && ours < budget.min)
  return [
    name,
    formatNumber(ours),
    unit,
    peer ? `${formatNumber(peer.value)} ${peer.name}` : '',
    peer ? formatNumber(ours / peer.value) : '',
    budget?.max !== undefined ? `<= ${budget.max}` : budget?.min !== undefined ? `>= ${budget.min}` : '',
    isMissed ? 'missed' : '',
  ]
}

function formatNumber(value: number): string {
  return value >= 100 ? String(Math.round(value)) : value.toPrecision(3)
}
