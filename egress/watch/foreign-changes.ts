// Finds in what `nft monitor` prints that another program has changed our table. A transaction is some lines and then one that names
// the process that made it; our own is known by the name that it was started with. Pure but for the transaction that is being read.

const GENERATION = /^# new generation \d+ by process \d+ \((.*)\)$/

/** Takes the lines one by one; true for the last one of a transaction of others that has changed the table. */
export function createForeignChanges({
  table,
  own,
}: {
  /** In the family inet. */
  table: string
  own: string
}): (line: string) => boolean {
  const changed = new RegExp(
    `^(add|insert|replace|delete) (table|chain|rule|set|map|element) inet ${table}( |$)`,
  )
  let isOurTable = false
  return (line) => {
    const by = GENERATION.exec(line)?.[1]
    if (by === undefined) {
      isOurTable ||= changed.test(line)
      return false
    }
    const isForeign = isOurTable && by !== own
    isOurTable = false
    return isForeign
  }
}
