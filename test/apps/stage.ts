// Where the apps are tried: the whole product with a port for TLS, and a browser that finds every name below `localhost` on this
// machine and asks no certificate who it is from.

import { mkdtempSync, rmSync } from 'node:fs'
import { request as httpRequest } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ConnectionConfig, Sandbox } from '@alibaba-group/opensandbox'
import { type BrowserContext, chromium } from 'playwright-core'
import { messageOf } from '../../lib/errors.ts'
import { type Edge, freePort, startEdge } from '../support/edge.ts'
import { type App, PACKAGES } from './apps.ts'
import { appsImage } from './image.ts'

export type Front = 'plain' | 'tls'

export type Stage = {
  edge: Edge
  /**
   * Starts an app in a sandbox of its own and opens it by one of the ports; resolves with what was seen. A picture of the end goes to
   * `screenshot`.
   */
  tryOut(app: App, front: Front, screenshot?: string): Promise<string>
  dispose(): Promise<void>
}

const ANSWER_MS = 60_000
/** Chromium drops what is under way when a network of this machine comes or goes, as one does with each sandbox of anybody here. */
const NETWORK_CHANGED = 'net::ERR_NETWORK_CHANGED'
const MAX_TRIES = 5

export async function openStage(apps: readonly App[]): Promise<Stage> {
  const image = apps.some((app) => app.image === 'apps') ? await appsImage() : undefined
  const tlsPort = await freePort()
  const edge = await startEdge({
    config: [
      `[storage]\nallowed_host_paths = ["${PACKAGES}"]`,
      `[front.tls]\nport = ${tlsPort}`,
      ...(image === undefined ? [] : [`[runtime.images]\napps = "${image}"`]),
      '',
    ].join('\n'),
  })
  const profile = mkdtempSync(join(tmpdir(), 'chromium-'))
  let browser: BrowserContext
  try {
    browser = await chromium.launchPersistentContext(profile, {
      executablePath: '/usr/bin/chromium',
      args: [
        '--no-sandbox',
        '--disable-gpu',
        '--disable-quic',
        '--no-first-run',
        '--disable-background-networking',
      ],
      viewport: { width: 1000, height: 700 },
      ignoreHTTPSErrors: true,
    })
  } catch (error) {
    rmSync(profile, { recursive: true, force: true })
    await edge.dispose()
    throw error
  }
  const connectionConfig = new ConnectionConfig({
    domain: `127.0.0.1:${edge.port}`,
    requestTimeoutSeconds: 180,
  })

  async function start(app: App): Promise<Sandbox> {
    const sandbox = await Sandbox.create({
      connectionConfig,
      image: app.image,
      readyTimeoutSeconds: 180,
      ...(app.volumes && { volumes: app.volumes }),
    })
    try {
      await sandbox.files.writeFiles(Object.entries(app.files).map(([path, data]) => ({ path, data })))
      const { id } = await sandbox.commands.run(app.command, { background: true })
      await untilAnswered(edge.port, `${sandbox.id}-${app.port}.localhost`).catch(async (error: unknown) => {
        const { content } = await sandbox.commands.getBackgroundCommandLogs(id ?? '')
        throw new Error(`${app.name} does not answer: ${messageOf(error)}\n${content}`, { cause: error })
      })
      return sandbox
    } catch (error) {
      await end(sandbox)
      throw error
    }
  }

  async function look(app: App, sandbox: Sandbox, front: Front, screenshot?: string): Promise<string> {
    const [scheme, port] = front === 'tls' ? ['https', tlsPort] : ['http', edge.port]
    const page = await browser.newPage()
    const problems: string[] = []
    page.on('pageerror', (error) => problems.push(error.message))
    page.on('requestfailed', (request) => {
      const reason = request.failure()?.errorText ?? ''
      // A page that is left leaves its own questions.
      if (reason !== 'net::ERR_ABORTED') problems.push(`${request.url()}: ${reason}`)
    })
    try {
      await page.goto(`${scheme}://${sandbox.id}-${app.port}.localhost:${port}${app.path}`)
      const seen = await app.look(page, sandbox)
      if (problems.length > 0) throw new Error('The page is as it should be, but was told of problems')
      return seen
    } catch (error) {
      const text = [messageOf(error), ...problems].join('\n')
      throw new Error(`${app.name} by ${scheme}: ${text}`, { cause: error })
    } finally {
      if (screenshot !== undefined) await page.screenshot({ path: screenshot })
      await page.close()
    }
  }

  async function tryOnce(app: App, front: Front, screenshot?: string): Promise<string> {
    const sandbox = await start(app)
    try {
      return await look(app, sandbox, front, screenshot)
    } finally {
      await end(sandbox)
    }
  }

  return {
    edge,
    async tryOut(app, front, screenshot) {
      for (let tries = 1; ; tries++) {
        try {
          return await tryOnce(app, front, screenshot)
        } catch (error) {
          if (tries === MAX_TRIES || !messageOf(error).includes(NETWORK_CHANGED)) throw error
        }
      }
    },
    async dispose() {
      await browser.close()
      rmSync(profile, { recursive: true, force: true, maxRetries: 3 })
      await edge.dispose()
    },
  }
}

async function end(sandbox: Sandbox): Promise<void> {
  await sandbox.kill()
  await sandbox.close()
}

/** The gateway's own answer is 502 until the app listens. */
async function untilAnswered(port: number, host: string): Promise<void> {
  const until = AbortSignal.timeout(ANSWER_MS)
  while ((await statusOf(port, host)) === 502) {
    until.throwIfAborted()
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

function statusOf(port: number, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    httpRequest({ port, headers: { host: `${host}:${port}` }, agent: false })
      .on('error', reject)
      .on('response', (answer) => {
        answer.resume()
        resolve(answer.statusCode ?? 0)
      })
      .end()
  })
}
