import { expect, test } from 'vitest'
import { loadConfig, readConfig } from '../../../lib/config.ts'

const sources = (toml: string, env: Record<string, string> = {}) => ({
  env: { HOME: '/home/x', ...env },
  args: ['--config', '/etc/sandbox.toml'],
  readFile: () => toml,
})

test('telemetry is off, and metrics have no token, by default', () => {
  const { config } = loadConfig(sources(''))
  expect(config.otel).toBeUndefined()
  expect(config.metrics).toEqual({})
})

test('the keys of the contract are read', () => {
  const { config } = loadConfig(
    sources(`[otel]
enabled = true
endpoint = "http://127.0.0.1:4318"
export_interval_millis = 1000
headers = { Authorization = "Basic abc" }
`),
  )
  expect(config.otel).toEqual({
    endpoint: 'http://127.0.0.1:4318',
    serviceName: 'opensandbox-server',
    exportIntervalMs: 1000,
    headers: { Authorization: 'Basic abc' },
  })
})

test('what is not enabled is off, whatever else is written', () => {
  expect(loadConfig(sources('[otel]\nendpoint = "http://127.0.0.1:4318"')).config.otel).toBeUndefined()
})

test.each([
  ['[otel]\nenabled = true', ':2: "otel.enabled" needs otel.endpoint beside it'],
  ['[otel]\nenabled = true\nendpoint = "127.0.0.1:4318"', '"otel.endpoint" must be an http or https URL'],
  ['[otel]\nexport_interval_millis = 999', 'an integer from 1000 to 86400000, but it is 999'],
  ['[otel]\nheaders = { "bad name" = "s3cr3t" }', '"otel.headers" must be a table of HTTP headers'],
  ['[otel]\nheaders = { a = "s3cr3t\\nb" }', '"otel.headers" must be a table of HTTP headers'],
  ['[metrics]\ntoken = "s3cr3t\\n"', '"metrics.token" must be'],
  ['[otel]\nprotocol = "grpc"', 'unknown key "otel.protocol"'],
])('%j is refused with its line and without the value of a secret', (toml, message) => {
  const { problems } = readConfig(sources(toml))
  expect(problems.join('\n')).toContain(message)
  expect(problems.join('\n')).toContain('/etc/sandbox.toml:2')
  expect(problems.join('\n')).not.toContain('s3cr3t')
})

test('the token of metrics may come from the environment', () => {
  expect(loadConfig(sources('', { OPENSANDBOX_METRICS_TOKEN: 'of-the-scraper' })).config.metrics.token).toBe(
    'of-the-scraper',
  )
})
