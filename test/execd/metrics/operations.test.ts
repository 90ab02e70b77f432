import { describe, expect, test } from 'vitest'
import { LATE_FAMILIES } from '../../../execd/app.ts'
import type { Seen } from '../../../execd/http/router.ts'
import { operationOf, routeTemplateOf } from '../../../execd/metrics/operations.ts'

const seen = (route: string | undefined, path: string, method = route?.split(' ')[0] ?? 'GET'): Seen => ({
  method,
  path,
  route,
  status: 200,
  isFailed: false,
  ms: 1,
})

describe('operationOf()', () => {
  test.each([
    [seen('POST /command', '/command'), { histogram: 'execution', operation: 'run_command' }],
    [seen('POST /code', '/code'), { histogram: 'execution', operation: 'run_code' }],
    [
      seen('POST /session/{sessionId}/run', '/session/a/run'),
      { histogram: 'execution', operation: 'run_in_session' },
    ],
    [seen('GET /files/info', '/files/info'), { histogram: 'filesystem', operation: 'info' }],
    [seen('DELETE /directories', '/directories'), { histogram: 'filesystem', operation: 'rmdir' }],
    [
      seen('* /v1/filesystem/{uid}/{gid}', '/v1/filesystem/1/2/files/upload', 'POST'),
      { histogram: 'filesystem', operation: 'upload' },
    ],
    [seen('* /v1/filesystem/{uid}/{gid}', '/v1/filesystem/1/2/nothing', 'POST'), undefined],
    [seen('* /v1/isolated', '/v1/isolated/session/a/run', 'POST'), { histogram: 'isolation' }],
    [seen('* /v1/isolated', '/v1/isolated/session/a', 'GET'), undefined],
    [seen('GET /ping', '/ping'), undefined],
    [seen(undefined, '/command', 'POST'), undefined],
  ])('of %j is %j', (request, operation) => {
    expect(operationOf(request)).toEqual(operation)
  })

  test('knows every operation on files that the contract names', () => {
    const routes = LATE_FAMILIES.files?.names ?? []
    const known = routes.flatMap((route) => {
      const operation = operationOf(seen(route, route.split(' ')[1] ?? ''))
      return operation && 'operation' in operation ? [operation.operation] : []
    })
    const named = ['info', 'delete', 'chmod', 'rename', 'mkdir', 'rmdir', 'listdir', 'search', 'replace']
    expect(known.sort()).toEqual([...named, 'download', 'upload'].sort())
  })
})

test.each([
  ['GET /code/contexts/{contextId}', '/code/contexts/{contextId}'],
  ['* /proxy', '/proxy'],
  [undefined, 'unknown'],
])('routeTemplateOf(%j) is %j', (route, template) => {
  expect(routeTemplateOf(seen(route, '/anything'))).toBe(template)
})
