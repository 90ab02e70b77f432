// What the configuration says of images.

import { expect, test } from 'vitest'
import { imageLimits } from '../../../control/config.ts'
import { ConfigError, loadConfig } from '../../../lib/config.ts'

const read = (lines: string) =>
  loadConfig({ env: { SANDBOX_CONFIG_PATH: '/c.toml' }, args: [], readFile: () => `[runtime]\n${lines}` })
    .config

test('images are fetched when they are not there, may be large, and stay, when nothing is said', () => {
  const config = read('')
  expect(config.runtime).toMatchObject({
    imagePullPolicy: 'IfNotPresent',
    imageMaxUnpackedBytes: 64 * 2 ** 30,
  })
  expect(imageLimits(config)).toEqual({})
})

test('sizes are amounts or bytes, and ages hours', () => {
  const config = read(
    'image_pull_policy = "Never"\nimage_max_unpacked_bytes = 1000\nimage_max_bytes = "200Gi"\nimage_max_age_hours = 2',
  )
  expect(config.runtime).toMatchObject({ imagePullPolicy: 'Never', imageMaxUnpackedBytes: 1000 })
  expect(imageLimits(config)).toEqual({ maxAgeMs: 7_200_000, maxBytes: 200 * 2 ** 30 })
})

test('registries are named as references name them', () => {
  const config = read('internal_registries = ["Registry.internal", "127.0.0.1:5000", "localhost:5000"]')
  expect(config.runtime.internalRegistries).toEqual(['Registry.internal', '127.0.0.1:5000', 'localhost:5000'])
})

test.each([
  [
    'image_pull_policy = "Sometimes"',
    /"runtime.image_pull_policy" must be one of "IfNotPresent", "Always", "Never"/,
  ],
  ['image_max_bytes = "much"', /"runtime.image_max_bytes" must be an amount such as "64Gi"/],
  ['image_max_bytes = 0', /must be an amount/],
  ['image_max_unpacked_bytes = -1', /must be an amount/],
  ['image_max_unpacked_bytes = 1.5', /must be an amount/],
  ['image_max_age_hours = 0', /must be an integer from 1/],
  [
    'internal_registries = ["http://localhost:5000"]',
    /"runtime.internal_registries\[0\]" must be a host with or without a port, such as "registry.internal:5000", but it is "http:/,
  ],
  ['internal_registries = ["registry.internal", "localhost:5000/team"]', /internal_registries\[1\]/],
  ['insecure_registries = ["10.0.0.0/8"]', /insecure_registries\[0\]/],
  ['insecure_registries = [5000]', /insecure_registries\[0\]/],
  ['insecure_registries = "localhost:5000"', /must be a list of hosts/],
])('%s is refused with the line and what is allowed', (line, problem) => {
  expect(() => read(line)).toThrow(ConfigError)
  expect(() => read(line)).toThrow(problem)
  expect(() => read(line)).toThrow('/c.toml:2')
})
