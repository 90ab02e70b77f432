// Finds in what `nft monitor` prints that another program has changed a table of ours. A transaction is some lines and then one that says the
// number of the rules that it has made, and names the process that did; nft, as we start it, is known by its name. Pure but for the
// transaction that is being read.

const GENERATION = /^# new generation (\d+) by process \d+ \((.*)\)$/

/**
 * Takes the lines one by one. For the last one of a transaction that has changed the table, and that our nft has not made, it gives
 * back the generation: what egress has written to the kernel by itself is known by that.
 */
export function createForeignChanges({
  table,
  own,
}: {
  /** In the families inet and netdev. */
  table: string
  own: string
}): (line: string) => number | undefined {
  const changed = new RegExp(
    `^(add|insert|replace|delete) (table|chain|rule|set|map|element) (inet|netdev) ${table}( |$)`,
  )
  let isOurTable = false
  return (line) => {
    const [, generation, by] = GENERATION.exec(line) ?? []
    if (generation === undefined) {
      isOurTable ||= changed.test(line)
      return undefined
    }
    const isAsked = isOurTable && by !== own
    isOurTable = false
    return isAsked ? Number(generation) : undefined
  }
}
