import type { Socket } from 'node:net'

/**
 * Ends a connection of TCP at once. What the kernel still has of it is not sent any more: whoever has the address by now would hear it, as the
 * kernel tries for a minute and longer.
 */
export function cutOff(socket: Socket): void {
  if (socket.connecting) socket.destroy()
  else socket.resetAndDestroy()
}
