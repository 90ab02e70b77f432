// Tar archives with whatever entries a test wants, hostile ones too: nothing is checked, and nothing is on the disk.

export type TarEntry = {
  name: string
  type?: 'file' | 'hardlink' | 'symlink' | 'char' | 'block' | 'directory' | 'fifo'
  data?: string | Buffer
  link?: string
  mode?: number
  uid?: number
}

const TYPES = { file: '0', hardlink: '1', symlink: '2', char: '3', block: '4', directory: '5', fifo: '6' }

export function tarOf(entries: TarEntry[]): Buffer {
  return Buffer.concat([...entries.flatMap(blocksOf), Buffer.alloc(1024)])
}

function blocksOf({
  name,
  type = 'file',
  data = '',
  link = '',
  mode = type === 'directory' ? 0o755 : 0o644,
  uid = 0,
}: TarEntry): Buffer[] {
  const bytes = Buffer.from(data)
  const header = Buffer.alloc(512)
  const octal = (value: number, at: number, length: number) =>
    header.write(`${value.toString(8).padStart(length - 1, '0')}\0`, at, 'latin1')
  header.write(name, 0, 100)
  octal(mode, 100, 8)
  octal(uid, 108, 8)
  octal(uid, 116, 8)
  octal(bytes.length, 124, 12)
  octal(0, 136, 12)
  header.write(' '.repeat(8), 148, 'latin1')
  header.write(TYPES[type], 156, 'latin1')
  header.write(link, 157, 100)
  header.write('ustar\u000000', 257, 'latin1')
  // The memory of the machine, or its first disk.
  octal(type === 'block' ? 8 : 1, 329, 8)
  octal(type === 'block' ? 0 : 1, 337, 8)
  octal(
    header.reduce((sum, byte) => sum + byte, 0),
    148,
    7,
  )
  return [header, bytes, Buffer.alloc((512 - (bytes.length % 512)) % 512)]
}
