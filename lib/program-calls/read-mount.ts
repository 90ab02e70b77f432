// What `mount` and `umount` are told, as the kernel is told it: mount(2), umount2(2). Only what we tell them; anything else is undefined.

export type MountCall =
  | { what: 'mount'; source: string; target: string; type: string | null; flags: number; data: string | null }
  | { what: 'unmount'; target: string; flags: number }

const MS_BIND = 4096
const MNT_DETACH = 2
const UMOUNT_NOFOLLOW = 8
const FLAGS: Record<string, number> = { nosuid: 2, nodev: 4, noexec: 8 }
/** Options that a file system is told as they are. */
const DATA: Record<string, readonly string[]> = {
  overlay: ['lowerdir', 'upperdir', 'workdir'],
  tmpfs: ['size', 'nr_inodes', 'mode', 'uid', 'gid'],
}
/** The kernel takes a page of options, with a zero at the end. */
const MAX_DATA_BYTES = 4095

export function readMount(program: string, args: readonly string[]): MountCall | undefined {
  if (args.some((arg) => arg === '' || arg.includes('\0'))) return undefined
  if (program === 'umount') {
    const [lazy, literal, target] = args
    if (args.length !== 3 || lazy !== '--lazy' || literal !== '--no-canonicalize' || !target) return undefined
    return { what: 'unmount', target, flags: MNT_DETACH | UMOUNT_NOFOLLOW }
  }
  if (program !== 'mount') return undefined
  if (args[0] === '--no-canonicalize') {
    const [, bind, source, target] = args
    if (args.length !== 4 || bind !== '--bind' || !source || !target) return undefined
    return { what: 'mount', source, target, type: null, flags: MS_BIND, data: null }
  }
  const [ofType, type, source, withOptions, options, target] = args
  if (args.length !== 6 || ofType !== '-t' || withOptions !== '-o') return undefined
  if (!type || !source || !options || !target) return undefined
  const read = readOptions(type, options)
  return read && { what: 'mount', source, target, type, ...read }
}

function readOptions(type: string, options: string): { flags: number; data: string } | undefined {
  let flags = 0
  const data: string[] = []
  for (const option of options.split(',')) {
    const flag = FLAGS[option]
    const at = option.indexOf('=')
    if (flag !== undefined) flags |= flag
    else if (DATA[type]?.includes(option.slice(0, Math.max(at, 0)))) data.push(option)
    else return undefined
  }
  const text = data.join(',')
  return Buffer.byteLength(text) > MAX_DATA_BYTES ? undefined : { flags, data: text }
}
