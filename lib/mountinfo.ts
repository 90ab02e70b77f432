// The table of mounts as the kernel writes it (proc(5), /proc/pid/mountinfo).

/** Every place at which something is mounted, once for each mount, the later ones last. */
export function mountPointsIn(mountinfo: string): string[] {
  return mountinfo.split('\n').flatMap((line) => {
    const point = line.split(' ')[4]
    return point === undefined ? [] : [decodeOctal(point)]
  })
}

/** A field of the table: blanks, line ends, `#` and backslashes are three octal digits there. */
export function decodeOctal(field: string): string {
  return field.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  )
}
