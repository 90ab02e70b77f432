import { Hono } from 'hono'
import { html, raw } from 'hono/html'
import type { AppEnv, AppSettings } from '../app-deps.ts'
import { createOpenApi, type OpenApiDocument, type OpenApiOperation } from './openapi.ts'

/** The API described: `/openapi.json` for programs, `/docs` for people. The page loads nothing from anywhere. */
export function docsRoutes({ version }: Pick<AppSettings, 'version'>): Hono<AppEnv> {
  const routes = new Hono<AppEnv>()
  const api = createOpenApi(version)
  const page = formatPage(api)
  routes.get('/openapi.json', (context) => context.json(api))
  for (const path of ['/docs', '/redoc'])
    routes.get(path, (context) =>
      context.html(page, 200, {
        'Content-Security-Policy': "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
      }),
    )
  return routes
}

const STYLE = `
:root { color-scheme: light dark; --line: #8884; --soft: #8882 }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem }
h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line) }
details { border: 1px solid var(--line); border-radius: 6px; margin: .5rem 0; padding: .5rem .75rem }
summary { cursor: pointer }
code, pre { font: 14px/1.45 ui-monospace, monospace }
pre { background: var(--soft); padding: .75rem; border-radius: 6px; overflow: auto; max-height: 30rem }
.method { display: inline-block; min-width: 5.2rem; font-weight: 700 }
table { border-collapse: collapse; margin: .5rem 0 }
td code { overflow-wrap: anywhere }
nav a { margin-right: 1rem }
td, th { text-align: left; padding: .15rem .9rem .15rem 0; vertical-align: top }
`

function formatPage(api: OpenApiDocument): string {
  const operations = Object.entries(api.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
  )
  const tags = [...new Set(operations.flatMap(({ operation }) => operation.tags))]
  return String(html`<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${api.info.title}</title><style>${raw(STYLE)}</style></head>
<body>
<h1>${api.info.title}</h1>
<p>Version ${api.info.version}. ${api.info.description} The same for programs: <a href="/openapi.json">/openapi.json</a>.</p>
<p>When the server has an API key, requests send it as <code>OPEN-SANDBOX-API-KEY</code>. Every error has a body
<code>{"code", "message"}</code>, and every answer an <code>X-Request-ID</code>.</p>
<nav>${[...tags, 'Schemas'].map((tag) => html`<a href="#${tag}">${tag}</a> `)}</nav>
${tags.map(
  (tag) => html`<h2 id="${tag}">${tag}</h2>
${operations.filter(({ operation }) => operation.tags.includes(tag)).map(formatOperation)}`,
)}
<h2 id="Schemas">Schemas</h2>
${Object.entries(api.components.schemas).map(
  ([name, schema]) => html`<details><summary><code>${name}</code></summary>
<pre id="${name}">${JSON.stringify(schema, null, 2)}</pre></details>`,
)}
</body></html>`)
}

function formatOperation(entry: { path: string; method: string; operation: OpenApiOperation }) {
  const { path, method, operation } = entry
  const { parameters, requestBody, responses, summary } = operation
  return html`<details><summary><span class="method">${method.toUpperCase()}</span><code>${path}</code><br>${summary}</summary>
${
  parameters.length > 0
    ? html`<table><tr><th>Parameter</th><th>In</th><th>What it may be</th></tr>
${parameters.map(
  (each) =>
    html`<tr><td><code>${each.name}</code></td><td>${each.in}</td><td>${inWords(each.schema)}${each.description ? html`<br>${each.description}` : ''}</td></tr>`,
)}</table>`
    : ''
}
${requestBody ? html`<p>Body: ${linkOf(requestBody)}</p>` : ''}
<table><tr><th>Status</th><th>Meaning</th><th>Body</th></tr>
${Object.entries(responses).map(
  ([status, answer]) =>
    html`<tr><td>${status}</td><td>${(answer as { description: string }).description}</td><td>${linkOf(answer)}</td></tr>`,
)}</table></details>`
}

type ParameterSchema = {
  type?: string
  enum?: unknown[]
  items?: ParameterSchema
  minimum?: number
  maximum?: number
  maxLength?: number
  default?: unknown
}

/** What a parameter may be, as one would say it. */
export function inWords(schema: unknown): string {
  const {
    type,
    enum: values,
    items,
    minimum,
    maximum,
    maxLength,
    default: initial,
  } = schema as ParameterSchema
  const kind = items ? `any of: ${inWords(items)}` : values ? values.join(', ') : (type ?? 'anything')
  const bounds = [
    minimum !== undefined && `from ${minimum}`,
    maximum !== undefined && `to ${maximum}`,
    maxLength !== undefined && `at most ${maxLength} characters`,
  ].filter((bound) => bound !== false)
  const parts = [[kind, ...bounds].join(' '), ...(initial === undefined ? [] : [`${initial} by default`])]
  return parts.join('; ')
}

function linkOf(part: unknown) {
  const name = /"#\/components\/schemas\/(\w+)"/.exec(JSON.stringify(part))?.[1]
  return name ? html`<a href="#${name}"><code>${name}</code></a>` : ''
}
