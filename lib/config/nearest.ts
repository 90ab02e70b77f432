// Which known name somebody may have meant by one that is not known.

/** The known name that is most like `name`, when it is alike enough to be what was meant. */
export function nearestOf(name: string, known: Iterable<string>): string | undefined {
  let best: string | undefined
  let least = Math.max(2, Math.floor(name.length / 4)) + 1
  for (const candidate of known) {
    // `server.log_level` is meant to be `log.level`.
    const flat = candidate.replaceAll('.', '_')
    const distance = Math.min(
      distanceOf(name, candidate),
      lastOf(name) === flat ? 0 : Number.POSITIVE_INFINITY,
    )
    if (distance < least) [best, least] = [candidate, distance]
  }
  // Nothing is like it, and there is just one of its name in another section.
  const namesakes = [...known].filter((candidate) => candidate.endsWith(`.${lastOf(name)}`))
  return best ?? (namesakes.length === 1 ? namesakes[0] : undefined)
}

function lastOf(name: string): string {
  return name.slice(name.lastIndexOf('.') + 1)
}

/** In how many steps one becomes the other: a letter more, less or another, or two that change places. */
function distanceOf(from: string, to: string): number {
  if (Math.abs(from.length - to.length) > 20) return Number.POSITIVE_INFINITY
  let before: number[] = []
  let above = Array.from({ length: to.length + 1 }, (_, at) => at)
  for (let i = 1; i <= from.length; i++) {
    const row = [i]
    for (let j = 1; j <= to.length; j++) {
      const isSame = from[i - 1] === to[j - 1]
      let least = Math.min((above[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (above[j - 1] ?? 0) + (isSame ? 0 : 1))
      if (i > 1 && j > 1 && from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1])
        least = Math.min(least, (before[j - 2] ?? 0) + 1)
      row[j] = least
    }
    ;[before, above] = [above, row]
  }
  return above[to.length] ?? 0
}
