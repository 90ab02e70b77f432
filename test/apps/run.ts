// `npm run apps`: every app of apps.ts in a sandbox of its own, opened in a browser by the plain port and by TLS, and a line of what
// was seen. With a folder as its argument the pictures are kept there. The first run makes an image, within some three minutes.

import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { messageOf } from '../../lib/errors.ts'
import { APPS } from './apps.ts'
import { type Front, openStage } from './stage.ts'

const FRONTS: readonly Front[] = ['plain', 'tls']

const [folder] = process.argv.slice(2)
if (folder?.startsWith('-')) {
  console.error(`Cannot run with "${folder}": npm run apps -- [FOLDER], in which the pictures are kept`)
  process.exit(2)
}
if (folder !== undefined) mkdirSync(folder, { recursive: true })

const outcomes: boolean[] = []
const stage = await openStage(APPS)
try {
  for (const app of APPS)
    for (const front of FRONTS) {
      const beganAt = performance.now()
      const picture =
        folder === undefined ? undefined : join(folder, `${app.name.replaceAll(/\W+/g, '-')}-${front}.png`)
      const seen = await stage.tryOut(app, front, picture).then(
        (text) => ({ ok: true, text }),
        (error: unknown) => ({ ok: false, text: messageOf(error) }),
      )
      const seconds = Math.round((performance.now() - beganAt) / 100) / 10
      outcomes.push(seen.ok)
      console.log(`${seen.ok ? 'passed' : 'FAILED'}  ${app.name} (${front}), ${seconds} s: ${seen.text}`)
    }
} finally {
  await stage.dispose()
}
const failed = outcomes.filter((ok) => !ok).length
console.log(`${outcomes.length - failed} passed, ${failed} failed`)
process.exitCode = failed > 0 ? 1 : 0
