import { expect, test } from 'vitest'
// @ts-expect-error plain JavaScript, as it runs before there are any packages
import { runtimeOf } from '../../launcher/runtime.mjs'

test.each<[string[], Record<string, string>, string, string]>([
  [[], {}, '', 'local'],
  [['--runtime', 'docker'], {}, '', 'docker'],
  [['--port', '1', '--runtime=docker'], { OPENSANDBOX_RUNTIME: 'local' }, '', 'docker'],
  [[], { OPENSANDBOX_RUNTIME: 'docker' }, '[runtime]\ntype = "local"\n', 'docker'],
  [[], {}, '[server]\ntype = "x"\n[runtime] # of sandboxes\n  type = "docker" # mine\n', 'docker'],
  [[], {}, "runtime.type = 'docker'\n", 'docker'],
  [[], {}, '[runtime.images]\ntype = "docker"\n', 'local'],
  [[], {}, '[store]\ntype = "docker"\n[runtime]\noci_runtime = "crun"\n', 'local'],
])('runtimeOf() with %j, %j and %j is %s', (args, env, file, runtime) => {
  expect(runtimeOf({ args, env, readFile: () => file })).toBe(runtime)
})

test('runtimeOf() reads the configuration that the flag names', () => {
  const read: string[] = []
  const readFile = (path: string) => {
    read.push(path)
    return ''
  }
  runtimeOf({ args: ['--config', '/a.toml'], env: { SANDBOX_CONFIG_PATH: '/b.toml' }, readFile })
  runtimeOf({ args: [], env: { SANDBOX_CONFIG_PATH: '/b.toml' }, readFile })
  expect(read).toEqual(['/a.toml', '/b.toml'])
})
