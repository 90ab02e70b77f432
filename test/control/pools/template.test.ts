import { describe, expect, test } from 'vitest'
import { readPoolTemplate } from '../../../control/pools/template.ts'

const pod = (container: object, spec: object = {}, more: object = {}) => ({
  ...more,
  spec: { containers: [{ image: 'debian', ...container }], ...spec },
})

describe('readPoolTemplate() reads', () => {
  test('a create request without what is the caller’s', () => {
    const { request, warnings } = readPoolTemplate({
      image: { uri: 'debian' },
      entrypoint: ['sleep', '9'],
      resource_limits: { cpu: '1' },
      env: { A: 'b', C: null },
      networkPolicy: { egress: [] },
      extensions: { 'bootstrap.execd.isolation': 'enable' },
    })
    expect(request).toMatchObject({
      image: { uri: 'debian' },
      entrypoint: ['sleep', '9'],
      resourceLimits: { cpu: '1' },
      env: { A: 'b' },
      networkPolicy: { egress: [] },
    })
    expect(warnings).toEqual([])
  })

  test('an image alone, as a text', () => {
    expect(readPoolTemplate({ image: 'debian' }).request).toEqual({
      image: { uri: 'debian' },
      entrypoint: ['tail', '-f', '/dev/null'],
      resourceLimits: {},
    })
  })

  test('a pod template, and says what has no effect', () => {
    const { request, warnings } = readPoolTemplate(
      pod(
        {
          name: 'sandbox',
          command: ['sleep'],
          args: ['9'],
          env: [{ name: 'A', value: 'b' }, { name: 'EMPTY' }],
          resources: { limits: { cpu: 2, memory: '1Gi' }, requests: { cpu: '1' } },
          ports: [{ containerPort: 80 }],
          volumeMounts: [{ name: 'bin', mountPath: '/opt/opensandbox' }],
        },
        {
          restartPolicy: 'Never',
          volumes: [{ name: 'bin', emptyDir: {} }],
          initContainers: [{ name: 'execd-installer', image: 'execd:1', command: ['cp'] }],
        },
        { metadata: { labels: { a: 'b' } } },
      ),
    )
    expect(request).toEqual({
      image: { uri: 'debian' },
      entrypoint: ['sleep', '9'],
      env: { A: 'b', EMPTY: '' },
      resourceLimits: { cpu: '2', memory: '1Gi' },
    })
    expect(warnings.map((warning) => warning.replace(/ (has|have) no effect.*/, ''))).toEqual([
      'template.metadata',
      'template.spec.restartPolicy',
      'template.spec.initContainers[0]',
      'template.spec.containers[0].ports',
      'template.spec.volumes of emptyDir',
      'template.spec.containers[0].resources.requests',
    ])
  })
})

describe('readPoolTemplate() refuses', () => {
  test.each<[string, Record<string, unknown>, string]>([
    ['nothing', {}, 'template.image'],
    ['no image', { image: { uri: ' ' } }, 'template.image'],
    ['what is the caller’s', { image: 'a', timeout: 60 }, 'template.timeout'],
    ['metadata', { image: 'a', metadata: {} }, 'template.metadata'],
    ['an unknown field', { image: 'a', surprise: 1 }, 'template.surprise'],
    ['a login', { image: { uri: 'a', auth: { username: 'u', password: 'secret' } } }, 'template.image.auth'],
    ['another extension', { image: 'a', extensions: { poolRef: 'p' } }, 'template.extensions["poolRef"]'],
    ['an entrypoint of nothing', { image: 'a', entrypoint: [] }, 'template.entrypoint'],
    ['a spec that is none', { spec: [] }, 'template.spec must be an object'],
    ['no container', { spec: {} }, 'template.spec.containers'],
    ['two containers', { spec: { containers: [{ image: 'a' }, { image: 'b' }] } }, 'it has 2'],
    ['a field beside spec', { ...pod({}), image: 'a' }, 'template.image cannot be read beside "spec"'],
    ['a security setting', pod({ securityContext: { runAsUser: 1 } }), 'containers[0].securityContext'],
    ['a setting of the pod', pod({}, { hostNetwork: true }), 'template.spec.hostNetwork'],
    ['an init container of its own', pod({}, { initContainers: [{ name: 'x' }] }), 'spec.initContainers[0]'],
    ['a volume of the host', pod({}, { volumes: [{ name: 'x', hostPath: {} }] }), 'spec.volumes[0]'],
    ['a mount of no volume', pod({ volumeMounts: [{ name: 'x' }] }), 'containers[0].volumeMounts[0]'],
    ['arguments alone', pod({ args: ['a'] }), 'spec.containers[0].args'],
    ['a variable from elsewhere', pod({ env: [{ name: 'A', valueFrom: {} }] }), 'containers[0].env[0]'],
    ['claims', pod({ resources: { claims: [] } }), 'containers[0].resources.claims'],
    ['a limit that is no amount', pod({ resources: { limits: { cpu: {} } } }), 'resources.limits.cpu'],
  ])('%s', (_name, template, message) => {
    let error: unknown
    try {
      readPoolTemplate(template)
    } catch (thrown) {
      error = thrown
    }
    expect(error).toMatchObject({ message: expect.stringContaining(message) })
    expect(String(error)).not.toContain('secret')
  })
})
