import type { Context } from 'hono'

/** The host by which the client called: what our own gateway says on its socket, else the request's `Host`. */
export function publicHost(context: Context, trustForwarded: boolean): string | undefined {
  return (trustForwarded ? context.req.header('x-forwarded-host') : undefined) ?? context.req.header('host')
}
