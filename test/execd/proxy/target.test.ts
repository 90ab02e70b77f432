import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parseTarget } from '../../../execd/proxy/target.ts'

const OWN = 44772

test.each([
  ['/proxy/3000', { port: 3000, path: '/' }],
  ['/proxy/3000/', { port: 3000, path: '/' }],
  ['/proxy/3000?a=1', { port: 3000, path: '/?a=1' }],
  ['/proxy/3000/a/b?c=%2F&d=/x?y', { port: 3000, path: '/a/b?c=%2F&d=/x?y' }],
  ['/proxy/3000/a%2Fb/%C3%A9', { port: 3000, path: '/a%2Fb/%C3%A9' }],
  ['/proxy/3000//a/../b', { port: 3000, path: '//a/../b' }],
  ['/proxy/1/x', { port: 1, path: '/x' }],
  ['/proxy/65535/x', { port: 65_535, path: '/x' }],
  ['/proxy/44772/command', { port: OWN, path: '/command' }],
  ['/proxy/44772/proxy/3000/a', { port: OWN, path: '/proxy/3000/a' }],
  ['/proxy/44772/proxy/44772/proxy/44772/ping?x', { port: OWN, path: '/ping?x' }],
  ['/proxy/44772/proxy/44772', { port: OWN, path: '/' }],
  ['/proxy/44772/proxy/447720/a', { port: OWN, path: '/proxy/447720/a' }],
])('parseTarget(%j) is %j', (url, target) => {
  expect(parseTarget(url, OWN)).toEqual(target)
})

test.each([
  ['/proxy', 'port is required'],
  ['/proxy/', 'port is required'],
  ['/proxy//a', 'port is required'],
  ['/proxy?x', 'port is required'],
  ['/proxy/0/', 'port must be a number from 1 to 65535: found "0"'],
  ['/proxy/65536/', 'port must be a number from 1 to 65535: found "65536"'],
  ['/proxy/80a/', 'port must be a number from 1 to 65535: found "80a"'],
  ['/proxy/%38%30/', 'port must be a number from 1 to 65535: found "%38%30"'],
  ['/proxy/-1/', 'port must be a number from 1 to 65535: found "-1"'],
])('parseTarget(%j) says %j', (url, problem) => {
  expect(parseTarget(url, OWN)).toEqual({ problem })
})

test('parseTarget() takes any text', () => {
  fc.assert(
    fc.property(fc.string(), (rest) => {
      const target = parseTarget(`/proxy/${rest}`, OWN)
      if ('path' in target) expect(target.path.startsWith('/')).toBe(true)
    }),
  )
})
