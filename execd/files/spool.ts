// Where content waits that cannot go to its place yet: in a file without a name, so that nothing is left of it whatever happens.

import { type FileHandle, open, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { execdError } from '../http/answer.ts'
import { createRandomId } from '../random-id.ts'

const COPY_BYTES = 1 << 20

export type Spool = {
  writev(buffers: Buffer[]): Promise<{ bytesWritten: number }>
  copyTo(sink: { writev(buffers: Buffer[]): Promise<{ bytesWritten: number }> }): Promise<void>
  handle: FileHandle
  close(): Promise<void>
}

/** Opens a file in `dir` that takes up to `maxBytes`; `what` is how a message calls what is larger. */
export async function openSpool(dir: string, maxBytes: number, what: string): Promise<Spool> {
  const path = join(dir, `.${createRandomId()}.new`)
  const handle = await open(path, 'wx+', 0o600)
  await unlink(path)
  let size = 0
  return {
    handle,
    writev: async (buffers) => {
      const { bytesWritten } = await handle.writev(buffers)
      size += bytesWritten
      if (size > maxBytes) throw execdError('INVALID_FILE', `${what} is larger than ${maxBytes} bytes`)
      return { bytesWritten }
    },
    copyTo: async (sink) => {
      const buffer = Buffer.allocUnsafeSlow(COPY_BYTES)
      for (let at = 0; at < size; ) {
        const { bytesRead } = await handle.read(buffer, 0, buffer.length, at)
        if (bytesRead === 0) throw new Error('A waiting file became shorter')
        at += bytesRead
        for (let rest = buffer.subarray(0, bytesRead); rest.length > 0; )
          rest = rest.subarray((await sink.writev([rest])).bytesWritten)
      }
    },
    close: () => handle.close(),
  }
}
