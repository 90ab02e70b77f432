// The example of the README, run as it is, with a browser looking at the page of the sandbox's web server.

import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chromium } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Edge, startEdge } from '../support/edge.ts'

const EXAMPLE = join(import.meta.dirname, '../../examples/working-day/main.ts')
const SCREENSHOT = process.env.OPENSANDBOX_SCREENSHOT

type Outcome = {
  id: string
  passed: number
  failed: number
  checksums: { sent: string; inside: string; received: string }
  denied: { exitCode: number; reason: string }
}

let edge: Edge
let outcome: Outcome
let seen: { state: string; guests: string[]; errors: string[] }

beforeAll(async () => {
  edge = await startEdge()
  const example = spawn(process.execPath, [EXAMPLE, '--server', `127.0.0.1:${edge.port}`, '--wait'], {
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  let said = ''
  let printed = ''
  const ended = new Promise<number | null>((resolve) => example.on('close', resolve))
  const ready = new Promise<string>((resolve, reject) => {
    example.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      said += chunk
      const page = /^Web server: (\S+)$/m.exec(said)?.[1]
      if (page && /^READY$/m.test(said)) resolve(page)
    })
    void ended.then((code) => reject(new Error(`The example ended with ${code}:\n${said}`)))
  })
  example.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    printed += chunk
  })
  seen = await lookAt(await ready)
  example.stdin.end('\n')
  expect(await ended, said).toBe(0)
  outcome = JSON.parse(printed.slice(printed.indexOf('{'))) as Outcome
}, 300_000)

afterAll(async () => {
  await edge?.dispose()
})

async function lookAt(url: string): Promise<typeof seen> {
  const profile = mkdtempSync(join(tmpdir(), 'chromium-'))
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: '/usr/bin/chromium',
    headless: true,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
    viewport: { width: 900, height: 600 },
  })
  try {
    const page = await context.newPage()
    const errors: string[] = []
    page.on('pageerror', (error) => errors.push(error.message))
    await page.goto(url)
    await page.getByText('connected', { exact: true }).waitFor()
    await page.getByLabel('Your name').fill('Ada')
    await page.getByRole('button', { name: 'Sign' }).click()
    await page.getByRole('listitem').first().waitFor()
    if (SCREENSHOT) await page.screenshot({ path: SCREENSHOT })
    return {
      state: (await page.locator('#state').textContent()) ?? '',
      guests: await page.getByRole('listitem').allTextContents(),
      errors,
    }
  } finally {
    await context.close()
    rmSync(profile, { recursive: true, force: true })
  }
}

test('the project uploaded to the sandbox installs its package and passes its own tests', () => {
  expect(outcome.passed).toBe(3)
  expect(outcome.failed).toBe(0)
})

test('the page and its WebSocket work in a browser under the name of the sandbox', () => {
  expect(seen).toEqual({ state: 'connected', guests: ['Ada'], errors: [] })
})

test('a file of 200 MB is the same on the way in, inside and on the way out', () => {
  expect(outcome.checksums.inside).toBe(outcome.checksums.sent)
  expect(outcome.checksums.received).toBe(outcome.checksums.sent)
})

test('a name that is not allowed does not resolve, and egress says why', async () => {
  expect(outcome.denied.exitCode).toBe(6)
  expect(outcome.denied.reason).toContain('not-allowed.example')
  const line = edge
    .output()
    .split('\n')
    .find((each) => each.includes('not-allowed.example'))
  expect(line).toContain(outcome.id)
  expect(line).toMatch(/deny|denied/)
})
