// The daemon inside a sandbox as a client reaches it: through the gateway, by the endpoint and headers that control gives.

import { type Event, parseEvents } from '../execd/daemon.ts'
import type { Edge } from './edge.ts'

export type Execd = {
  url: string
  headers: Record<string, string>
  call(path: string, init?: RequestInit): Promise<Response>
  /** Posts JSON; all events of the stream that answers. */
  events(path: string, body: object): Promise<Event[]>
}

/** How to reach execd in the sandbox `id`. */
export async function execdOf(edge: Edge, id: string): Promise<Execd> {
  const response = await fetch(`${edge.url}/v1/sandboxes/${id}/endpoints/44772`)
  if (!response.ok) throw new Error(`No endpoint: ${await response.text()}`)
  const { endpoint, headers = {} } = (await response.json()) as {
    endpoint: string
    headers?: Record<string, string>
  }
  const url = `http://${endpoint}`
  const call = (path: string, init: RequestInit = {}) =>
    fetch(url + path, { ...init, headers: { ...headers, ...(init.headers as Record<string, string>) } })
  return {
    url,
    headers,
    call,
    events: async (path, body) => {
      const answer = await call(path, { method: 'POST', body: JSON.stringify(body) })
      const text = await answer.text()
      if (answer.status !== 200) throw new Error(`${path} answered ${answer.status}: ${text}`)
      return parseEvents(text)
    },
  }
}
