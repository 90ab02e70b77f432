import { describe, expect, onTestFinished, test } from 'vitest'
import { createControlApp, MINIMAL } from '../support/control-app.ts'

const SECRET = 'hunter2-is-secret'

type Case = [what: string, change: Record<string, unknown>, status: number, code: string, field: string]

const FORM = 'GENERAL::INVALID_REQUEST'
const PARAMETER = 'SANDBOX::INVALID_PARAMETER'
const host = (more: Record<string, unknown> = {}) => ({
  name: 'v',
  mountPath: '/data',
  host: { path: '/srv/a' },
  ...more,
})
const huge = 'x'.repeat(140_000)

const CASES: Case[] = [
  ['no image', { image: undefined }, 422, FORM, 'image'],
  ['image null', { image: null }, 422, FORM, 'image'],
  ['image a text', { image: 'debian' }, 422, FORM, 'image'],
  ['image a list', { image: [] }, 422, FORM, 'image'],
  ['image without uri', { image: {} }, 422, FORM, 'image.uri'],
  ['image uri a number', { image: { uri: 5 } }, 422, FORM, 'image.uri'],
  ['image uri blank', { image: { uri: '  ' } }, 422, FORM, 'image'],
  ['image uri an option', { image: { uri: '--help' } }, 422, FORM, 'image.uri'],
  ['image uri a path', { image: { uri: '/etc/passwd' } }, 422, FORM, 'image.uri'],
  ['image uri with a space', { image: { uri: 'a b' } }, 422, FORM, 'image.uri'],
  ['image uri with a NUL', { image: { uri: 'a\0b' } }, 422, FORM, 'image.uri'],
  ['image uri with a line end', { image: { uri: 'a\nb' } }, 422, FORM, 'image.uri'],
  ['image uri huge', { image: { uri: 'a'.repeat(513) } }, 422, FORM, 'image.uri'],
  [
    'image auth without password',
    { image: { uri: 'a', auth: { username: SECRET } } },
    422,
    FORM,
    'image.auth.password',
  ],
  ['image auth a text', { image: { uri: 'a', auth: SECRET } }, 422, FORM, 'image.auth'],
  ['image and snapshot', { snapshotId: 's' }, 422, FORM, 'image'],
  ['snapshot unknown', { image: undefined, snapshotId: 's' }, 404, 'SNAPSHOT::NOT_FOUND', 'snapshot'],
  ['snapshot a number', { snapshotId: 1 }, 422, FORM, 'snapshotId'],
  ['template empty', { templateId: '' }, 422, FORM, 'templateId'],
  ['template and image', { templateId: 't', timeout: 60 }, 422, FORM, 'image'],
  [
    'template alone',
    { image: undefined, entrypoint: undefined, resourceLimits: undefined, templateId: 't', timeout: 60 },
    404,
    'FSB::TEMPLATE_NOT_FOUND',
    'template',
  ],
  [
    'template without timeout',
    { image: undefined, entrypoint: undefined, resourceLimits: undefined, templateId: 't' },
    422,
    FORM,
    'timeout',
  ],
  ['entrypoint missing', { entrypoint: undefined }, 422, FORM, 'entrypoint'],
  ['entrypoint empty', { entrypoint: [] }, 422, FORM, 'entrypoint'],
  ['entrypoint a text', { entrypoint: 'sleep' }, 422, FORM, 'entrypoint'],
  ['entrypoint of numbers', { entrypoint: [1] }, 422, FORM, 'entrypoint.0'],
  ['entrypoint with a NUL', { entrypoint: ['a', 'b\0'] }, 422, FORM, 'entrypoint.1'],
  ['entrypoint huge', { entrypoint: [huge] }, 422, FORM, 'entrypoint.0'],
  ['entrypoint blank', { entrypoint: [' '] }, 400, 'DOCKER::INVALID_ENTRYPOINT', 'entrypoint'],
  ['timeout too short', { timeout: 59 }, 422, FORM, 'timeout'],
  ['timeout zero', { timeout: 0 }, 422, FORM, 'timeout'],
  ['timeout negative', { timeout: -60 }, 422, FORM, 'timeout'],
  ['timeout a fraction', { timeout: 60.5 }, 422, FORM, 'timeout'],
  ['timeout words', { timeout: 'soon' }, 422, FORM, 'timeout'],
  ['timeout true', { timeout: true }, 422, FORM, 'timeout'],
  ['timeout above the cap', { timeout: 86_401 }, 400, PARAMETER, 'timeout'],
  ['timeout beyond numbers', { timeout: 1e300 }, 422, FORM, 'timeout'],
  ['limits missing', { resourceLimits: undefined }, 422, FORM, 'resourceLimits'],
  ['limits a list', { resourceLimits: [] }, 422, FORM, 'resourceLimits'],
  ['limit a number', { resourceLimits: { cpu: 1 } }, 422, FORM, 'resourceLimits.cpu'],
  ['cpu words', { resourceLimits: { cpu: 'abc' } }, 400, PARAMETER, 'resourceLimits.cpu'],
  ['cpu zero', { resourceLimits: { cpu: '0' } }, 400, PARAMETER, 'resourceLimits.cpu'],
  ['cpu negative', { resourceLimits: { cpu: '-1' } }, 400, PARAMETER, 'resourceLimits.cpu'],
  ['cpu infinite', { resourceLimits: { cpu: 'inf' } }, 400, PARAMETER, 'resourceLimits.cpu'],
  ['memory a fraction', { resourceLimits: { memory: '1.5Gi' } }, 400, PARAMETER, 'resourceLimits.memory'],
  ['memory empty', { resourceLimits: { memory: '' } }, 400, PARAMETER, 'resourceLimits.memory'],
  ['memory too small', { resourceLimits: { memory: '1' } }, 400, PARAMETER, 'resourceLimits.memory'],
  [
    'memory beyond numbers',
    { resourceLimits: { memory: '999999999999Ti' } },
    400,
    PARAMETER,
    'resourceLimits.memory',
  ],
  ['gpu', { resourceLimits: { gpu: 'all' } }, 400, PARAMETER, 'resourceLimits.gpu'],
  ['requests of numbers', { resourceRequests: { cpu: 1 } }, 422, FORM, 'resourceRequests.cpu'],
  ['env a list', { env: ['A=b'] }, 422, FORM, 'env'],
  ['env value a number', { env: { A: 1 } }, 422, FORM, 'env.A'],
  ['env name empty', { env: { '': 'a' } }, 422, FORM, 'env'],
  ['env name with =', { env: { 'A=B': 'a' } }, 422, FORM, 'env'],
  ['env name with a NUL', { env: { 'A\0': 'a' } }, 422, FORM, 'env'],
  ['env value with a NUL', { env: { A: 'a\0b' } }, 422, FORM, 'env.A'],
  ['env value huge', { env: { A: huge } }, 422, FORM, 'env.A'],
  ['env of the hooks', { env: { OPENSANDBOX_LIFECYCLE: '{}' } }, 422, FORM, 'env.OPENSANDBOX_LIFECYCLE'],
  ['env of egress', { env: { OPENSANDBOX_EGRESS_TOKEN: SECRET } }, 400, PARAMETER, 'OPENSANDBOX_EGRESS_'],
  ['metadata a number', { metadata: { a: 1 } }, 422, FORM, 'metadata.a'],
  ['metadata null', { metadata: { a: null } }, 422, FORM, 'metadata.a'],
  ['metadata with spaces', { metadata: { a: 'b c' } }, 400, 'SANDBOX::INVALID_METADATA_LABEL', 'value'],
  ['metadata key empty', { metadata: { '': 'b' } }, 400, 'SANDBOX::INVALID_METADATA_LABEL', 'key'],
  [
    'metadata key of 64',
    { metadata: { ['k'.repeat(64)]: 'b' } },
    400,
    'SANDBOX::INVALID_METADATA_LABEL',
    'key',
  ],
  [
    'metadata value of 64',
    { metadata: { k: 'b'.repeat(64) } },
    400,
    'SANDBOX::INVALID_METADATA_LABEL',
    'value',
  ],
  [
    'metadata reserved',
    { metadata: { 'opensandbox.io/id': 'x' } },
    400,
    'SANDBOX::INVALID_METADATA_LABEL',
    'reserved',
  ],
  ['policy a text', { networkPolicy: 'deny' }, 422, FORM, 'networkPolicy'],
  [
    'policy default unknown',
    { networkPolicy: { defaultAction: 'block' } },
    422,
    FORM,
    'networkPolicy.defaultAction',
  ],
  [
    'policy rule without target',
    { networkPolicy: { egress: [{ action: 'allow' }] } },
    422,
    FORM,
    'networkPolicy.egress.0.target',
  ],
  [
    'policy target blank',
    { networkPolicy: { egress: [{ action: 'allow', target: ' ' }] } },
    422,
    FORM,
    'networkPolicy.egress.0.target',
  ],
  [
    'policy of too many rules',
    { networkPolicy: { egress: Array.from({ length: 4097 }, () => ({ action: 'allow', target: 'a' })) } },
    422,
    FORM,
    'networkPolicy.egress',
  ],
  ['credential proxy without policy', { credentialProxy: { enabled: true } }, 422, FORM, 'credentialProxy'],
  ['waking', { extensions: { 'access.wake.on.request': 'yes' } }, 400, PARAMETER, 'access.wake.on.request'],
  [
    'credential proxy that would believe any server',
    {
      credentialProxy: { enabled: true },
      networkPolicy: {},
      env: { OPENSANDBOX_EGRESS_MITMPROXY_SSL_INSECURE: 'true' },
    },
    400,
    PARAMETER,
    'OPENSANDBOX_EGRESS_MITMPROXY_SSL_INSECURE',
  ],
  ['secure access unclear', { secureAccess: 'maybe' }, 422, FORM, 'secureAccess'],
  ['platform without arch', { platform: { os: 'linux' } }, 422, FORM, 'platform.arch'],
  ['platform unknown', { platform: { os: 'plan9', arch: 'amd64' } }, 400, PARAMETER, 'platform.os'],
  ['platform windows', { platform: { os: 'windows', arch: 'amd64' } }, 400, PARAMETER, 'platform.os'],
  [
    'platform of another machine',
    { platform: { os: 'linux', arch: 'arm64' } },
    400,
    PARAMETER,
    'platform.arch',
  ],
  ['platform arch unknown', { platform: { os: 'linux', arch: 'vax' } }, 400, PARAMETER, 'platform.arch'],
  ['lifecycle a list', { lifecycle: [] }, 422, FORM, 'lifecycle'],
  ['lifecycle with unknown fields', { lifecycle: { postStop: {} } }, 422, FORM, 'lifecycle'],
  [
    'lifecycle hook without command',
    { lifecycle: { preStart: { command: [] } } },
    422,
    FORM,
    'lifecycle.preStart.command',
  ],
  [
    'lifecycle hook names twice',
    {
      lifecycle: {
        periodic: [
          { name: 'a', schedule: '@hourly', command: ['x'] },
          { name: ' a', schedule: '@hourly', command: ['x'] },
        ],
      },
    },
    422,
    FORM,
    'lifecycle.periodic',
  ],
  [
    'lifecycle hook that begins blank',
    { lifecycle: { preStart: { command: [' ', 'a'] } } },
    422,
    FORM,
    'lifecycle.preStart.command',
  ],
  [
    'lifecycle hook with unknown fields',
    { lifecycle: { preStart: { command: ['a'], shell: SECRET } } },
    422,
    FORM,
    'lifecycle.preStart',
  ],
  [
    'lifecycle hook without time',
    { lifecycle: { preStart: { command: ['a'], timeoutSeconds: 0 } } },
    422,
    FORM,
    'lifecycle.preStart.timeoutSeconds',
  ],
  [
    'lifecycle hook with too much time',
    { lifecycle: { preStart: { command: ['a'], timeoutSeconds: 10_801 } } },
    422,
    FORM,
    'lifecycle.preStart.timeoutSeconds',
  ],
  ...(
    [
      ['without a name', { name: undefined }, 'name'],
      ['with a blank name', { name: ' ' }, 'name'],
      ['without a schedule', { schedule: undefined }, 'schedule'],
      ['with four cron fields', { schedule: '* * * *' }, 'schedule: must be five cron fields'],
      ['with six cron fields', { schedule: '* * * * * *' }, 'schedule'],
      ['with a wrong cron field', { schedule: '0 24 * * *' }, 'schedule: has a wrong hour'],
      ['on a day that there is not', { schedule: '0 0 31 2 *' }, 'schedule: names no day'],
      ['every no seconds', { schedule: '@every 0s' }, 'schedule'],
      ['every minute in words', { schedule: '@every 1m' }, 'schedule'],
      ['daily in words', { schedule: '@daily' }, 'schedule'],
      ['with a secret as schedule', { schedule: SECRET }, 'schedule'],
      ['with too much time', { timeoutSeconds: 301 }, 'timeoutSeconds'],
      ['with a fraction of time', { timeoutSeconds: 1.5 }, 'timeoutSeconds'],
      ['with unknown fields', { user: 'root' }, ''],
    ] as const
  ).map(
    ([what, change, field]): Case => [
      `lifecycle hook by schedule ${what}`,
      { lifecycle: { periodic: [{ name: 'a', schedule: '@hourly', command: ['x'], ...change }] } },
      422,
      FORM,
      `lifecycle.periodic.0${field && '.'}${field}`,
    ],
  ),
  [
    'lifecycle hooks without number',
    {
      lifecycle: {
        periodic: Array.from({ length: 101 }, (_, at) => ({
          name: `${at}`,
          schedule: '@hourly',
          command: ['x'],
        })),
      },
    },
    422,
    FORM,
    'lifecycle.periodic',
  ],
  [
    'lifecycle hooks of a size that no variable has',
    { lifecycle: { preStart: { command: ['a', 'x'.repeat(70_000), 'x'.repeat(70_000)] } } },
    422,
    FORM,
    'lifecycle: must be shorter than 131072 bytes',
  ],
  ['extensions of numbers', { extensions: { a: 1 } }, 422, FORM, 'extensions.a'],
  ['pool', { extensions: { poolRef: 'p' } }, 404, 'KUBERNETES::POOL_NOT_FOUND', 'pool'],
  ['any pool', { extensions: { poolRef: '*' } }, 404, 'KUBERNETES::POOL_NOT_FOUND', 'pool'],
  [
    'isolation that the operator has not allowed',
    { extensions: { 'bootstrap.execd.isolation': 'enable' } },
    400,
    PARAMETER,
    'runtime.allow_isolated_sessions',
  ],
  [
    'isolation of an unknown kind',
    { extensions: { 'bootstrap.execd.isolation': 'on' } },
    400,
    PARAMETER,
    '"enable" or "disable"',
  ],
  ['pool and lifecycle', { extensions: { poolRef: 'p' }, lifecycle: {} }, 422, FORM, 'lifecycle'],
  [
    'renew seconds words',
    { extensions: { 'access.renew.extend.seconds': 'x' } },
    400,
    PARAMETER,
    'access.renew.extend.seconds',
  ],
  [
    'renew seconds blank',
    { extensions: { 'access.renew.extend.seconds': '' } },
    400,
    PARAMETER,
    'access.renew.extend.seconds',
  ],
  [
    'renew seconds 299',
    { extensions: { 'access.renew.extend.seconds': '299' } },
    400,
    PARAMETER,
    'access.renew.extend.seconds',
  ],
  [
    'renew seconds 86401',
    { extensions: { 'access.renew.extend.seconds': '86401' } },
    400,
    PARAMETER,
    'access.renew.extend.seconds',
  ],
  ['volumes an object', { volumes: {} }, 422, FORM, 'volumes'],
  ['volume name upper case', { volumes: [host({ name: 'V' })] }, 422, FORM, 'volumes.0.name'],
  ['volume name of 64', { volumes: [host({ name: 'v'.repeat(64) })] }, 422, FORM, 'volumes.0.name'],
  [
    'volume mount path relative',
    { volumes: [host({ mountPath: 'data' })] },
    422,
    FORM,
    'volumes.0.mountPath',
  ],
  ['volume without backend', { volumes: [host({ host: undefined })] }, 422, FORM, 'volumes.0'],
  ['volume with two backends', { volumes: [host({ pvc: { claimName: 'c' } })] }, 422, FORM, 'volumes.0'],
  [
    'volume host path relative',
    { volumes: [host({ host: { path: 'srv' } })] },
    422,
    FORM,
    'volumes.0.host.path',
  ],
  [
    'volume that is not there and is not to be made',
    { volumes: [host({ host: null, pvc: { claimName: 'c', createIfNotExists: false } })] },
    400,
    'VOLUME::PVC_NOT_FOUND',
    'pvc',
  ],
  [
    'volume of ossfs',
    {
      volumes: [
        host({
          host: null,
          ossfs: { bucket: 'bbb', endpoint: 'e', accessKeyId: 'k', accessKeySecret: SECRET },
        }),
      ],
    },
    400,
    'VOLUME::UNSUPPORTED_BACKEND',
    'ossfs',
  ],
  [
    'volume of ossfs without secret',
    { volumes: [host({ host: null, ossfs: { bucket: 'bbb', endpoint: 'e', accessKeyId: 'k' } })] },
    422,
    FORM,
    'accessKeySecret',
  ],
  [
    'volume storage',
    { volumes: [host({ host: null, pvc: { claimName: 'c', storage: 'much' } })] },
    422,
    FORM,
    'storage',
  ],
  [
    'volume names twice',
    { volumes: [host(), host({ mountPath: '/b' })] },
    400,
    'VOLUME::DUPLICATE_NAME',
    'volumes[1].name',
  ],
  [
    'volume mount paths twice',
    { volumes: [host(), host({ name: 'b' })] },
    400,
    'VOLUME::INVALID_MOUNT_PATH',
    'volumes[1].mountPath',
  ],
  [
    'volume on the root',
    { volumes: [host({ mountPath: '/' })] },
    400,
    'VOLUME::INVALID_MOUNT_PATH',
    'mountPath',
  ],
  [
    'volume on our own directory',
    { volumes: [host({ mountPath: '/opt/opensandbox/x' })] },
    400,
    'VOLUME::INVALID_MOUNT_PATH',
    'mountPath',
  ],
  [
    'volume over our own directory',
    { volumes: [host({ mountPath: '/opt' })] },
    400,
    'VOLUME::INVALID_MOUNT_PATH',
    'mountPath',
  ],
  [
    'volume on proc',
    { volumes: [host({ mountPath: '/proc/sys' })] },
    400,
    'VOLUME::INVALID_MOUNT_PATH',
    'mountPath',
  ],
  [
    'volume mount path upwards',
    { volumes: [host({ mountPath: '/a/../b' })] },
    400,
    'VOLUME::INVALID_MOUNT_PATH',
    'mountPath',
  ],
  [
    'volume sub path upwards',
    { volumes: [host({ subPath: 'a/../../b' })] },
    400,
    'VOLUME::INVALID_SUB_PATH',
    'subPath',
  ],
  [
    'volume sub path absolute',
    { volumes: [host({ subPath: '/a' })] },
    400,
    'VOLUME::INVALID_SUB_PATH',
    'subPath',
  ],
  [
    'volume host path upwards',
    { volumes: [host({ host: { path: '/srv/a/../../etc' } })] },
    400,
    'VOLUME::INVALID_HOST_PATH',
    'host.path',
  ],
  [
    'volume host path with //',
    { volumes: [host({ host: { path: '/srv//a' } })] },
    400,
    'VOLUME::INVALID_HOST_PATH',
    'host.path',
  ],
  [
    'volume host path ending with /',
    { volumes: [host({ host: { path: '/srv/a/' } })] },
    400,
    'VOLUME::INVALID_HOST_PATH',
    'host.path',
  ],
  [
    'volume host path of Windows',
    { volumes: [host({ host: { path: 'C:\\a' } })] },
    400,
    'VOLUME::INVALID_HOST_PATH',
    'host.path',
  ],
  [
    'volume outside the list',
    { volumes: [host({ host: { path: '/srv/ab' } })] },
    400,
    'VOLUME::HOST_PATH_NOT_ALLOWED',
    'host.path',
  ],
]

describe('create refuses', () => {
  test.each(CASES)('%s', async (_what, change, status, code, field) => {
    const control = createControlApp({
      settings: { maxTimeoutSeconds: 86_400 },
      life: { allowedHostPaths: ['/srv/a'] },
    })
    onTestFinished(control.close)
    const answer = await control.call('POST', '/v1/sandboxes', { ...MINIMAL, ...change })
    expect(answer.body).toMatchObject({ code })
    expect(answer.status).toBe(status)
    expect(answer.body.message).toContain(field)
    expect(answer.text).not.toContain(SECRET)
    expect(answer.headers.get('x-request-id')).toMatch(/^[0-9a-f]{32}$/)
    expect(control.runtime.calls).toEqual([])
    expect(control.store.all()).toEqual([])
  })
})

describe('create takes', () => {
  const taken: [string, Record<string, unknown>, Record<string, unknown>][] = [
    ['the minimum', {}, {}],
    [
      'null for what is absent',
      {
        snapshotId: null,
        timeout: null,
        env: null,
        metadata: null,
        networkPolicy: null,
        volumes: null,
        platform: null,
        credentialProxy: null,
        extensions: null,
        lifecycle: null,
        templateId: null,
        secureAccess: null,
      },
      {},
    ],
    ['blank ids and an empty pool', { snapshotId: ' ', templateId: ' ', extensions: { poolRef: ' ' } }, {}],
    ['a timeout as text', { timeout: '120' }, {}],
    ['a timeout at the cap', { timeout: 86_400.0 }, {}],
    ['unknown fields', { surprise: { deep: [1] } }, {}],
    ['booleans as words', { secureAccess: 'off', credentialProxy: { enabled: 0 } }, {}],
    [
      'a credential proxy',
      {
        credentialProxy: { enabled: true },
        networkPolicy: {},
        env: { OPENSANDBOX_EGRESS_MITMPROXY_SSL_INSECURE: 'false' },
      },
      { credentialProxy: true, networkPolicy: { defaultAction: 'deny', egress: [] }, env: {} },
    ],
    ['a credential proxy that is off', { credentialProxy: { enabled: false } }, {}],
    ['empty and null variables', { env: { A: '', B: null, C: 'c' } }, { env: { A: '', C: 'c' } }],
    [
      'limits',
      { resourceLimits: { cpu: '500m', memory: '512Mi' } },
      { limits: { nanoCpus: 500_000_000, memoryBytes: 536_870_912 } },
    ],
    [
      'a policy without a default',
      { networkPolicy: { egress: [{ action: ' Allow ', target: ' a.com ' }] } },
      { networkPolicy: { defaultAction: 'deny', egress: [{ action: 'allow', target: 'a.com' }] } },
    ],
    ['an empty policy', { networkPolicy: {} }, { networkPolicy: { defaultAction: 'deny', egress: [] } }],
    [
      'a volume with a sub path',
      { volumes: [host({ subPath: 'b', readOnly: 'yes' })] },
      { mounts: [{ source: '/srv/a/b', target: '/data', readOnly: true }] },
    ],
    ['no hooks', { lifecycle: {} }, { env: {} }],
    ['a list of no hooks', { lifecycle: { preStart: null, periodic: [] } }, { env: {} }],
    [
      'hooks, as a variable beside the others',
      {
        env: { A: 'b' },
        lifecycle: {
          pre_start: { command: ['/init.sh', ''], timeout_seconds: '120' },
          periodic: [
            { name: ' sync ', schedule: ' @every 30s ', command: ['/sync.sh'], timeoutSeconds: null },
          ],
        },
      },
      {
        env: {
          A: 'b',
          OPENSANDBOX_LIFECYCLE: JSON.stringify({
            preStart: { command: ['/init.sh', ''], timeoutSeconds: 120 },
            periodic: [{ name: 'sync', schedule: '@every 30s', command: ['/sync.sh'] }],
          }),
        },
      },
    ],
    ['its own platform', { platform: { os: ' Linux', arch: 'AMD64' } }, {}],
    [
      'registry credentials',
      { image: { uri: 'r.example/x:1', auth: { username: 'u', password: SECRET } } },
      { image: { uri: 'r.example/x:1', auth: { username: 'u', password: SECRET } } },
    ],
  ]
  test.each(taken)('%s', async (_what, change, spec) => {
    const control = createControlApp({
      settings: { maxTimeoutSeconds: 86_400 },
      life: { allowedHostPaths: ['/srv/a'] },
    })
    onTestFinished(control.close)
    const answer = await control.call('POST', '/sandboxes', { ...MINIMAL, ...change })
    expect(answer.body.message).toBeUndefined()
    expect(answer.status).toBe(202)
    expect(control.runtime.specs[0]).toMatchObject(spec)
    expect(answer.text).not.toContain(SECRET)
    expect(answer.text).not.toContain('null')
  })

  test('snake_case names beside the documented ones', async () => {
    const control = createControlApp()
    onTestFinished(control.close)
    const { status } = await control.call('POST', '/sandboxes', {
      image: { uri: 'debian' },
      entrypoint: ['sleep'],
      resource_limits: { memory: '64Mi' },
      network_policy: { default_action: 'allow' },
    })
    expect(status).toBe(202)
    expect(control.runtime.specs[0]).toMatchObject({
      limits: { memoryBytes: 67_108_864 },
      networkPolicy: { defaultAction: 'allow' },
    })
  })

  test('what has no effect, with a warning in the answer', async () => {
    const control = createControlApp()
    onTestFinished(control.close)
    const { status, headers } = await control.call('POST', '/sandboxes', {
      ...MINIMAL,
      resourceLimits: { io: '10Gi' },
    })
    expect(status).toBe(202)
    expect(headers.get('opensandbox-warning')).toBe('resourceLimits.io has no effect on this runtime')
  })

  test("extensions, and gives back those that are the caller's", async () => {
    const control = createControlApp()
    onTestFinished(control.close)
    const extensions = {
      'opensandbox.extensions.team': 'a',
      'access.renew.extend.seconds': ' 300 ',
      other: 'x',
    }
    const made = await control.call('POST', '/sandboxes', { ...MINIMAL, extensions })
    expect(made.body.extensions).toEqual({ 'opensandbox.extensions.team': 'a' })
    const read = await control.call('GET', `/sandboxes/${String(made.body.id)}`)
    expect(read.body.extensions).toEqual({ 'opensandbox.extensions.team': 'a' })
  })

  test('isolation where the operator allows it, remembered for a start after a restart, and not given back', async () => {
    const control = createControlApp({ life: { allowIsolatedSessions: true } })
    onTestFinished(control.close)
    const extensions = { 'bootstrap.execd.isolation': ' Enable ' }
    const made = await control.call('POST', '/sandboxes', { ...MINIMAL, extensions })
    expect(made.status).toBe(202)
    expect(made.body.extensions).toBeUndefined()
    expect(control.store.get(String(made.body.id))?.extensions).toEqual({
      'bootstrap.execd.isolation': 'enable',
    })
    await control.call('POST', '/sandboxes', MINIMAL)
    await control.call('POST', '/sandboxes', {
      ...MINIMAL,
      extensions: { 'bootstrap.execd.isolation': 'disable' },
    })
    expect(control.runtime.specs.map((spec) => spec.allowNamespaces)).toEqual([true, false, false])
  })
})

describe('a body that is none', () => {
  const bodies: [string, string | undefined, Record<string, string>, number][] = [
    ['missing', undefined, {}, 422],
    ['not JSON', '{"image":', {}, 422],
    ['a list', '[]', {}, 422],
    ['a number', '7', {}, 422],
    ['null', 'null', {}, 422],
    ['plain text', JSON.stringify(MINIMAL), { 'content-type': 'text/plain' }, 422],
    ['too large', JSON.stringify({ ...MINIMAL, x: 'x'.repeat(1_100_000) }), {}, 413],
    ['announced too large', '{}', { 'content-length': '10000000' }, 413],
    ['deeply nested', `${'['.repeat(200_000)}${']'.repeat(200_000)}`, {}, 422],
  ]
  test.each(bodies)('%s', async (_what, body, headers, status) => {
    const control = createControlApp()
    onTestFinished(control.close)
    const answer = await control.call('POST', '/v1/sandboxes', body, headers)
    expect(answer.status).toBe(status)
    expect(answer.body.code).toEqual(expect.any(String))
    expect(answer.body.message).toEqual(expect.any(String))
  })

  test('of another JSON type is read', async () => {
    const control = createControlApp()
    onTestFinished(control.close)
    const type = { 'content-type': 'application/merge-patch+json; charset=utf-8' }
    expect((await control.call('POST', '/sandboxes', MINIMAL, type)).status).toBe(202)
  })
})
