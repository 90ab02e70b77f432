// Sends what there is to a collector, every so often: OTLP/HTTP in JSON. Nobody waits for it: one export is under way at a time,
// each has a deadline, and what a collector did not take is not kept. Trouble is told once, and its end too.

import { type ClientRequest, request as httpRequest, type RequestOptions } from 'node:http'
import { messageOf } from '../errors.ts'
import type { Logger } from '../log.ts'

export type Collector = {
  url: URL
  /** Such as what the collector asks for as a login. */
  headers: Record<string, string>
  timeoutMs: number
}

export type ExporterOptions = Collector & {
  intervalMs: number
  /** What is exported, for the log: `metrics`. */
  what: string
  /** The body of the next export; undefined when there is nothing to say. */
  takeBody: () => object | undefined
  log: Logger
}

export type Exporter = {
  /** Exports a last time, and ends. Resolves when that is done, or after `deadlineMs`. */
  close(deadlineMs: number): Promise<void>
}

export function runExporter(options: ExporterOptions): Exporter {
  const { url, what, log, takeBody } = options
  let isFailing = false
  const send = async (timeoutMs: number): Promise<void> => {
    try {
      const body = takeBody()
      if (!body) return
      await postJson({ ...options, timeoutMs }, JSON.stringify(body))
      if (isFailing) log.info('telemetry reaches its collector again', { what })
      isFailing = false
    } catch (error) {
      if (!isFailing)
        log.warn('telemetry does not reach its collector', { what, host: url.host, error: messageOf(error) })
      isFailing = true
    }
  }
  let isSending = false
  const timer = setInterval(async () => {
    // A slow collector is not sent the next before it has taken the last.
    if (isSending) return
    isSending = true
    await send(options.timeoutMs)
    isSending = false
  }, options.intervalMs)
  return {
    close: (deadlineMs) => {
      clearInterval(timer)
      return send(deadlineMs)
    },
  }
}

/** Rejects when the collector does not take it. */
async function postJson({ url, headers, timeoutMs }: Collector, body: string): Promise<void> {
  const request = await requestOf(url)
  const signal = AbortSignal.timeout(timeoutMs)
  await new Promise<void>((resolve, reject) => {
    const outgoing = request(url, {
      method: 'POST',
      headers: { ...headers, 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) },
      agent: false,
      signal,
    })
    outgoing.once('error', reject)
    outgoing.once('response', (answer) => {
      const { statusCode = 0 } = answer
      // Its text is nobody's; one that never ends is cut off with the export's time.
      answer.on('error', () => {})
      answer.resume()
      if (statusCode >= 200 && statusCode < 300) resolve()
      else reject(new Error(`It answers with status ${statusCode}`))
    })
    outgoing.end(body)
  })
}

type Request = (url: URL, options: RequestOptions) => ClientRequest

/** TLS is a large module that most programs never need for this. */
async function requestOf(url: URL): Promise<Request> {
  return url.protocol === 'https:' ? (await import('node:https')).request : httpRequest
}
