// schemathesis (PyPI): makes requests out of an OpenAPI document, well formed ones and others, follows what they make, and holds
// the answers to the document. With a seed and a number of requests instead of a time, it asks the same in every run.

import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { pythonWith } from './python-sdk.ts'

const PACKAGE = 'schemathesis==4.32.5'

export type SchemathesisRun = {
  url: string
  document: object
  /** The rest of the configuration, in its TOML. */
  config: string
  maxExamples: number
  timeoutMs: number
}

/** What it says, and whether it has found nothing. */
export async function runSchemathesis(options: SchemathesisRun): Promise<{ ok: boolean; output: string }> {
  const python = await pythonWith(PACKAGE)
  // It keeps a database of examples where it runs, which would make each run depend on the ones before.
  const folder = mkdtempSync(join(tmpdir(), 'schemathesis-'))
  const config = join(folder, 'schemathesis.toml')
  const document = join(folder, 'openapi.json')
  writeFileSync(document, JSON.stringify(options.document))
  writeFileSync(config, `seed = 1\ncontinue-on-failure = true\nrequest-timeout = 10\n${options.config}`)
  const args = ['--config-file', config, 'run', document, '--url', options.url]
  args.push('--max-examples', String(options.maxExamples), '--no-color')
  return await new Promise((resolve) => {
    execFile(
      join(dirname(python), 'schemathesis'),
      args,
      {
        cwd: folder,
        timeout: options.timeoutMs,
        maxBuffer: 1 << 26,
        env: { PATH: process.env.PATH, HOME: folder },
      },
      (error, stdout, stderr) => {
        rmSync(folder, { recursive: true, force: true })
        resolve({ ok: error === null, output: stdout + stderr })
      },
    )
  })
}
