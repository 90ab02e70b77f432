import { expect, test } from 'vitest'
// @ts-expect-error plain JavaScript, as it runs before there are any packages
import { dockerHostOf, runtimeOf } from '../../launcher/runtime.mjs'

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

test.each<[Record<string, string>, string, string | undefined]>([
  [{}, '', undefined],
  [{}, '[docker]\nhost = ""\n', undefined],
  [{}, '[server]\nhost = "0.0.0.0"\n[docker]\napi_timeout = 3\n', undefined],
  [{}, '[docker]\nhost = "unix:///host/docker.sock"\n', 'unix:///host/docker.sock'],
  [{}, 'docker.host = "ssh://root@127.0.0.1"\n', 'ssh://root@127.0.0.1'],
  [{ DOCKER_HOST: '' }, '[docker]\nhost = "/run/a.sock"\n', '/run/a.sock'],
  [{ DOCKER_HOST: '/run/b.sock' }, '[docker]\nhost = "/run/a.sock"\n', '/run/b.sock'],
])('a Docker daemon that is there already, with %j and %j, is at %s', (env, file, host) => {
  expect(dockerHostOf({ args: [], env, readFile: () => file })).toBe(host)
})
