// Real apps as users run them in sandboxes. Each names what is started, and tries in a browser what would not work if the gateway
// changed, kept back or lost anything of it.

import { join } from 'node:path'
import type { Sandbox, SandboxCreateOptions } from '@alibaba-group/opensandbox'
import type { Page } from 'playwright-core'

export type App = {
  name: string
  /** `host` for the machine's own files, or the image of image.ts. */
  image: 'host' | 'apps'
  port: number
  /** What is run in the shell once its files are there. */
  command: string
  files: Record<string, string>
  volumes?: NonNullable<SandboxCreateOptions['volumes']>
  /** Where the browser begins. */
  path: string
  /** Resolves with what was seen; rejects when something is not as it should be. */
  look(page: Page, sandbox: Sandbox): Promise<string>
}

/** The packages of the tests, among them Vite and Node, at the same place in the sandbox. */
export const PACKAGES = join(import.meta.dirname, '../../node_modules')
const LOOK_MS = 60_000

const vite: App = {
  name: 'Vite with hot module replacement',
  image: 'host',
  port: 5173,
  command:
    '/packages/node_modules/node/bin/node /packages/node_modules/vite/bin/vite.js /workspace/app --config /workspace/app/vite.config.mjs',
  volumes: [
    { name: 'packages', mountPath: '/packages/node_modules', readOnly: true, host: { path: PACKAGES } },
  ],
  files: {
    '/workspace/app/vite.config.mjs': `export default {
  cacheDir: '/tmp/vite',
  server: { host: '0.0.0.0', port: 5173, strictPort: true, allowedHosts: ['.localhost'], watch: { usePolling: true, interval: 100 } },
}
`,
    '/workspace/app/index.html':
      '<!doctype html><title>Vite</title><link rel="icon" href="data:,"><h1 id="word"></h1><p id="count"></p><script type="module" src="/main.js"></script>\n',
    '/workspace/app/main.js': `import './style.css'
import { word } from './word.js'
const show = (text) => { document.querySelector('#word').textContent = text }
show(word)
// It is lost when the page is loaded anew.
window.lifetime = (window.lifetime ?? 0) + 1
document.querySelector('#count').textContent = 'loaded once'
if (import.meta.hot) import.meta.hot.accept('./word.js', (changed) => show(changed.word))
`,
    '/workspace/app/word.js': "export const word = 'before'\n",
    '/workspace/app/style.css': 'body { background: #e8f0fe; font: 32px sans-serif }\n',
  },
  path: '/',
  async look(page, sandbox) {
    await page.locator('#word', { hasText: 'before' }).waitFor({ timeout: LOOK_MS })
    await page.evaluate("window.mark = 'the same page'")
    await sandbox.files.writeFiles([
      { path: '/workspace/app/word.js', data: "export const word = 'after'\n" },
      { path: '/workspace/app/style.css', data: 'body { background: #e6f4ea; font: 32px sans-serif }\n' },
    ])
    await page.locator('#word', { hasText: 'after' }).waitFor({ timeout: LOOK_MS })
    await page.waitForFunction(
      "getComputedStyle(document.body).backgroundColor === 'rgb(230, 244, 234)'",
      null,
      {
        timeout: LOOK_MS,
      },
    )
    const mark = await page.evaluate('window.mark')
    if (mark !== 'the same page') throw new Error('The page was loaded anew')
    return 'a file that was edited by the SDK, and its style, were seen without a reload'
  },
}

const EVENTS = `
import http.server, itertools, threading, time
PAGE = b'''<!doctype html><title>Events</title><link rel="icon" href="data:,"><ul></ul><script>
const source = new EventSource('/events')
const seen = []
source.onopen = () => seen.push('open')
source.onmessage = (event) => {
  seen.push(event.lastEventId)
  document.querySelector('ul').append(Object.assign(document.createElement('li'), { textContent: event.data }))
  // The server says the next one only when the browser has this one.
  fetch('/next/' + event.lastEventId, { method: 'POST' })
}
</script>'''
heard = threading.Semaphore(0)
class App(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_POST(self):
        heard.release()
        self.send_response(204)
        self.end_headers()
    def do_GET(self):
        self.send_response(200)
        if self.path != '/events':
            self.send_header('Content-Type', 'text/html')
            self.send_header('Content-Length', str(len(PAGE)))
            self.end_headers()
            self.wfile.write(PAGE)
            return
        self.send_header('Content-Type', 'text/event-stream')
        self.send_header('Connection', 'close')
        self.end_headers()
        last = int(self.headers.get('Last-Event-ID') or 0)
        for number in range(last + 1, last + 6):
            self.wfile.write(f'retry: 50\\nid: {number}\\ndata: event {number}, after {last}\\n\\n'.encode())
            self.wfile.flush()
            heard.acquire(timeout=20)
        self.close_connection = True
http.server.ThreadingHTTPServer(('', 8000), App).serve_forever()
`

const events: App = {
  name: 'Server-Sent Events',
  image: 'host',
  port: 8000,
  command: 'python3 /workspace/events.py',
  files: { '/workspace/events.py': EVENTS },
  path: '/',
  async look(page) {
    // The server waits for the browser to have each event, and the second stream begins where the first one ended.
    await page.locator('li', { hasText: 'event 7, after 5' }).waitFor({ timeout: LOOK_MS })
    return 'each event came before the next was sent, and the stream was taken up again where it had ended'
  },
}

const jupyter: App = {
  name: 'JupyterLab',
  image: 'apps',
  port: 8888,
  command: [
    '/opt/jupyter/bin/python -m jupyterlab --allow-root --no-browser --ip=0.0.0.0 --port=8888 --ServerApp.port_retries=0',
    '--ServerApp.root_dir=/workspace --IdentityProvider.token=a-token-of-the-app',
  ].join(' '),
  files: {
    '/workspace/sum.ipynb': JSON.stringify({
      nbformat: 4,
      nbformat_minor: 5,
      metadata: { kernelspec: { name: 'python3', display_name: 'Python 3', language: 'python' } },
      cells: [
        {
          id: 'sum',
          cell_type: 'code',
          execution_count: null,
          metadata: {},
          outputs: [],
          source:
            "import time\nfor part in ('one', 'two'):\n    print(part, 6 * 7, flush=True)\n    time.sleep(0.2)",
        },
      ],
    }),
  },
  path: '/lab/tree/sum.ipynb?token=a-token-of-the-app',
  async look(page) {
    await page.locator('.jp-Notebook .jp-CodeCell').first().waitFor({ timeout: LOOK_MS })
    await page.locator('.jp-Notebook .jp-CodeCell .cm-content').first().click()
    // The kernel answers by a WebSocket.
    await page.getByText('Python 3 (ipykernel) | Idle').first().waitFor({ timeout: LOOK_MS })
    await page.keyboard.press('Shift+Enter')
    await page.locator('.jp-OutputArea-output', { hasText: 'two 42' }).waitFor({ timeout: LOOK_MS })
    return 'a cell ran on a kernel, and its output came by a WebSocket'
  },
}

const DESKTOP = `#!/bin/sh
set -eu
export HOME=/root USER=root DISPLAY=:1
Xtigervnc :1 -geometry 800x600 -depth 24 -SecurityTypes None -localhost -AlwaysShared &
until xsetroot -solid '#205090' 2>/dev/null; do sleep 0.1; done
xterm -geometry 60x12+80+80 -bg '#103010' -fg '#e0ffe0' -fa Monospace -e sh -c 'echo A desktop in a sandbox; exec sh' &
exec websockify --web /usr/share/novnc 6080 localhost:5901
`

const novnc: App = {
  name: 'noVNC',
  image: 'apps',
  port: 6080,
  command: 'sh /workspace/desktop.sh',
  files: { '/workspace/desktop.sh': DESKTOP },
  path: '/vnc.html?autoconnect=true&resize=off',
  async look(page) {
    await page.locator('#noVNC_container canvas').waitFor({ timeout: LOOK_MS })
    // The colour of the desktop, where no window is.
    await page.waitForFunction(
      `(() => {
        const canvas = document.querySelector('#noVNC_container canvas')
        if (!canvas || canvas.width < 800) return false
        const [red, green, blue] = canvas.getContext('2d').getImageData(790, 590, 1, 1).data
        return red === 0x20 && green === 0x50 && blue === 0x90
      })()`,
      null,
      { timeout: LOOK_MS },
    )
    // What is typed reaches the terminal, whose window is taken by a click.
    await page.locator('#noVNC_container canvas').click({ position: { x: 200, y: 200 } })
    await page.keyboard.type('printf "\\\\033]11;#a02020\\\\007"\n', { delay: 20 })
    await page.waitForFunction(
      `(() => {
        const canvas = document.querySelector('#noVNC_container canvas')
        const [red, green] = canvas.getContext('2d').getImageData(400, 220, 1, 1).data
        return red === 0xa0 && green === 0x20
      })()`,
      null,
      { timeout: LOOK_MS },
    )
    return 'the pixels of the desktop were there, and what was typed changed them'
  },
}

/** Those that need nothing but what the tests have anyway. */
export const SMALL_APPS: readonly App[] = [vite, events]
export const APPS: readonly App[] = [vite, events, jupyter, novnc]
