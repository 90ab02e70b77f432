import { expect, test } from 'vitest'
import { overridesOf } from '../../../egress/interception/overrides.ts'

test.each([
  [[['x-http-method-override', ' delete ']], '/', [{ by: 'x-http-method-override', method: 'DELETE' }]],
  [[['x-http-method', 'PUT']], '/', [{ by: 'x-http-method', method: 'PUT' }]],
  [[['x_http-method', 'PUT']], '/', [{ by: 'x-http-method', method: 'PUT' }]],
  [[['x-original-url', '/admin']], '/', [{ by: 'x-original-url', target: '/admin' }]],
  [[['x-rewrite-url', 'admin?x']], '/', [{ by: 'x-rewrite-url', target: '/admin?x' }]],
  [[['x-rewrite-url', 'https://a.example/admin']], '/', [{ by: 'x-rewrite-url', target: '/admin' }]],
  [[['accept', '*/*']], '/?method=DELETE', []],
  [[], '/?a=b&_method=delete', [{ by: '_method in the query', method: 'DELETE' }]],
  [[], '/?%5Fmethod=DELETE', [{ by: '_method in the query', method: 'DELETE' }]],
  [[], '/?.method=%44ELETE', [{ by: '_method in the query', method: 'DELETE' }]],
  [[], '/?a=1;_METHOD=PATCH', [{ by: '_method in the query', method: 'PATCH' }]],
  [[], '/?_method', [{ by: '_method in the query', method: '' }]],
] as [[string, string][], string, object[]][])('C6: overridesOf(%j, %j) is %j', (fields, target, wanted) => {
  const read = fields.map(([key, value]) => ({ name: key, key, value }))
  expect(overridesOf(read, target)).toEqual(wanted)
})
