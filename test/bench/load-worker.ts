// A client in a thread of its own, so that what it costs is not the server's: sends the same request so many times, so many at a
// time, and says how long that took in milliseconds.

import { parentPort, workerData } from 'node:worker_threads'

export type Load = { url: string; body: string; count: number; lanes: number }

const { url, body, count, lanes } = workerData as Load
let left = count
const began = performance.now()
await Promise.all(
  Array.from({ length: lanes }, async () => {
    while (left-- > 0) {
      const response = await fetch(url, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body,
      })
      await response.arrayBuffer()
      if (!response.ok) throw new Error(`POST ${url} answered ${response.status}`)
    }
  }),
)
parentPort?.postMessage(performance.now() - began)
