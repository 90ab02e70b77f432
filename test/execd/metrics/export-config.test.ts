import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseExportConfig } from '../../../execd/metrics/export-config.ts'
import { VERSION } from '../../../lib/version.ts'

const METRICS = 'OTEL_EXPORTER_OTLP_METRICS_ENDPOINT'
const OTLP = 'OTEL_EXPORTER_OTLP_ENDPOINT'

describe('the collector is', () => {
  test.each<
    [what: string, env: Record<string, string>, hostInfo: string | undefined, url: string | undefined]
  >([
    [
      'named in full',
      { [METRICS]: 'https://a.example/in?k=v', [OTLP]: 'http://b' },
      undefined,
      'https://a.example/in?k=v',
    ],
    [
      'named by its base',
      { [OTLP]: 'http://b:4318/', HOST_IP: '10.0.0.1' },
      undefined,
      'http://b:4318/v1/metrics',
    ],
    ['below a path', { [OTLP]: 'http://b/otlp' }, undefined, 'http://b/otlp/v1/metrics'],
    ['on the host', { HOST_IP: '10.0.0.1' }, '10.0.0.2', 'http://10.0.0.1:4318/v1/metrics'],
    ['on a host of IPv6', { HOST_IP: 'fd00::1' }, undefined, 'http://[fd00::1]:4318/v1/metrics'],
    ['in the file', {}, '# the node\nname\n 10.0.0.2 \n10.0.0.3\n', 'http://10.0.0.2:4318/v1/metrics'],
    [
      'the next, when one is wrong',
      { [METRICS]: 'nonsense', [OTLP]: 'ftp://x', HOST_IP: '10.0.0.1' },
      undefined,
      'http://10.0.0.1:4318/v1/metrics',
    ],
    ['nobody, when the host is no address', { HOST_IP: 'node-1' }, undefined, undefined],
    ['nobody, when nothing says who', {}, undefined, undefined],
    [
      'nobody, when all of it is off',
      { [OTLP]: 'http://b', OTEL_SDK_DISABLED: 'true' },
      undefined,
      undefined,
    ],
  ])('%s', (_what, env, hostInfo, url) => {
    expect(parseExportConfig(env, hostInfo)?.url.href).toBe(url)
  })
})

test('every point and the whole say which sandbox it is, and what else was asked for', () => {
  const config = parseExportConfig(
    {
      HOST_IP: '10.0.0.1',
      OPENSANDBOX_ID: 'sb-1',
      OPENSANDBOX_EXECD_METRICS_EXTRA_ATTRS: 'team=a, tier = gold ,broken,=x,url=a=b',
      OTEL_EXPORTER_OTLP_HEADERS: 'Authorization=Bearer%20x,a=1,bad=%zz',
      OTEL_EXPORTER_OTLP_METRICS_HEADERS: 'a=2',
    },
    undefined,
  )
  expect(config).toMatchObject({
    attributes: { sandbox_id: 'sb-1', team: 'a', tier: 'gold', url: 'a=b' },
    resource: { sandbox_id: 'sb-1', 'service.name': `opensandbox-execd-${VERSION}` },
    headers: { Authorization: 'Bearer x', a: '2', bad: '%zz' },
    intervalMs: 60_000,
    timeoutMs: 10_000,
  })
})

test.each([
  ['500', 500],
  ['0', 60_000],
  ['-1', 60_000],
  ['soon', 60_000],
  ['99999999999', 60_000],
  ['9999999999', 3_600_000],
])('an interval of %j is %i', (text, ms) => {
  expect(
    parseExportConfig({ HOST_IP: '10.0.0.1', OTEL_METRIC_EXPORT_INTERVAL: text }, undefined)?.intervalMs,
  ).toBe(ms)
})

test('no text breaks it', () => {
  const names = [
    METRICS,
    OTLP,
    'HOST_IP',
    'OTEL_EXPORTER_OTLP_HEADERS',
    'OPENSANDBOX_EXECD_METRICS_EXTRA_ATTRS',
  ]
  fc.assert(
    fc.property(fc.array(fc.string(), { minLength: 5, maxLength: 5 }), fc.string(), (values, hostInfo) => {
      parseExportConfig(Object.fromEntries(names.map((name, index) => [name, values[index] ?? ''])), hostInfo)
    }),
  )
})
