// Connections of which one side takes nothing. A test says what time it is.

import type { Socket } from 'node:net'
import { expect } from 'vitest'
import type { StallWatch } from '../../egress/stall-watch.ts'

/** Writes as long as it is read. */
export function flood(socket: Socket, piece = Buffer.alloc(65_536)): void {
  const go = () => {
    while (!socket.destroyed && socket.write(piece));
  }
  socket.on('drain', go).on('error', () => {})
  go()
}

/** Looks again and again, each time after so long that who has taken nothing since the last time is given up. */
export async function lookUntil(stalls: StallWatch, isOver: () => boolean): Promise<void> {
  let now = 0
  await expect
    .poll(() => {
      now += stalls.limitMs
      stalls.look(now)
      return isOver()
    })
    .toBe(true)
}
