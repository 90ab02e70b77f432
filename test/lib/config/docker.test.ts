import { describe, expect, test } from 'vitest'
import { readConfig } from '../../../lib/config.ts'

function read(source: string, env: Record<string, string> = {}) {
  return readConfig({ env: { SANDBOX_CONFIG_PATH: '/c.toml', ...env }, args: [], readFile: () => source })
}

const onDocker = (source: string) => read(`[runtime]\ntype = "docker"\n${source}`)

describe('[docker]', () => {
  test('has the capabilities dropped that a server does without, and sets limits, by default', () => {
    expect(onDocker('').loaded?.config.docker).toEqual({
      apiTimeoutSeconds: 180,
      dropCapabilities: [
        'AUDIT_WRITE',
        'MKNOD',
        'NET_ADMIN',
        'NET_RAW',
        'SYS_ADMIN',
        'SYS_MODULE',
        'SYS_PTRACE',
        'SYS_TIME',
        'SYS_TTY_CONFIG',
      ],
      noNewPrivileges: true,
      pidsLimit: 4096,
      sandboxEnv: {},
      sandboxBinds: [],
    })
  })

  test('takes where the daemon is from the variables that Docker has for it', () => {
    const env = {
      DOCKER_HOST: 'tcp://127.0.0.1:2376',
      DOCKER_TLS_VERIFY: '1',
      DOCKER_CERT_PATH: '/certs',
      SSH_AUTH_SOCK: '/run/agent',
    }
    const { loaded, problems } = read(
      '[runtime]\ntype = "docker"\n[docker]\nssh_config = "/etc/ssh/c"\n',
      env,
    )
    expect(problems).toEqual([])
    expect(loaded?.config.docker).toMatchObject({
      host: 'tcp://127.0.0.1:2376',
      tlsVerify: true,
      certPath: '/certs',
      sshConfig: '/etc/ssh/c',
      sshAgent: '/run/agent',
    })
    expect(loaded?.config.docker).not.toHaveProperty('allowPlaintext')
    // They are in many an environment, for other programs.
    expect(read('', env)).toMatchObject({ problems: [], unused: [] })
  })

  test('takes what the contract has', () => {
    const { loaded, problems } = onDocker(
      '[docker]\napi_timeout = 20\ndrop_capabilities = ["cap_chown", "KILL"]\nseccomp_profile = " "\napparmor_profile = "mine"\n' +
        'sandbox_env = ["A=1", "B=x=y"]\nsandbox_binds = ["/srv:/data:ro"]\n[secure_runtime]\ntype = "gvisor"\n',
    )
    expect(problems).toEqual([])
    expect(loaded?.config.docker).toMatchObject({
      apiTimeoutSeconds: 20,
      dropCapabilities: ['CHOWN', 'KILL'],
      apparmorProfile: 'mine',
      sandboxEnv: { A: '1', B: 'x=y' },
      sandboxBinds: ['/srv:/data:ro'],
      ociRuntime: 'runsc',
    })
    expect(loaded?.config.docker).not.toHaveProperty('seccompProfile')
  })

  test.each([
    [
      '[docker]\ndrop_capabilities = ["no such"]\n',
      '/c.toml:4: "docker.drop_capabilities[0]" must be a capability',
    ],
    ['[docker]\ndrop_capabilities = ["KILL", "NET_RWA"]\n', 'drop_capabilities[1]" must be a capability'],
    [
      '[docker]\nseccomp_profile = "strict"\n',
      '/c.toml:4: "docker.seccomp_profile" must be "unconfined", "builtin"',
    ],
    ['[docker]\nsandbox_env = ["=secret"]\n', '/c.toml:4: "docker.sandbox_env[0]" must be a variable'],
    [
      '[docker]\nsandbox_env = {"a b" = "secret"}\n',
      '/c.toml:4: "docker.sandbox_env."a b"" must be a variable',
    ],
    ['[docker]\nsandbox_binds = ["srv:/data"]\n', '/c.toml:4: "docker.sandbox_binds[0]" must be "/host/path'],
    ['[docker]\nsandbox_binds = ["/srv/../etc:/data"]\n', '"docker.sandbox_binds[0]" must be "/host/path'],
    ['[docker]\npids_limit = 1\n', '/c.toml:4: "docker.pids_limit" must be an integer from 16'],
    [
      '[secure_runtime]\ntype = "firecracker"\n',
      '/c.toml:4: "secure_runtime.type" must be "gvisor" or "kata"',
    ],
    ['[secure_runtime]\ndocker_runtime = "x"\n', '/c.toml:4: "secure_runtime.docker_runtime" needs'],
  ])('%j is wrong', (source, problem) => {
    const { problems } = onDocker(source)
    expect(problems).toHaveLength(1)
    expect(problems[0]).toContain(problem)
    expect(problems[0]).not.toContain('secret')
  })

  test('is told to have no effect on another runtime, but for the variable that other programs read, too', () => {
    const source = '[docker]\npids_limit = 100\n[secure_runtime]\ntype = "gvisor"\n'
    expect(read(source, { DOCKER_HOST: 'tcp://example:2375' }).unused).toEqual([
      { where: '/c.toml:2', name: 'docker.pids_limit' },
      { where: '/c.toml:4', name: 'secure_runtime.type' },
    ])
    expect(onDocker('[docker]\npids_limit = 100\n').unused).toEqual([])
  })
})
