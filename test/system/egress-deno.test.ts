// The main path of egress once more, with the program run by Deno. Needs root.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { Lab, PRIVATE, PUBLIC, PUBLIC_TOO } from '../egress/network-lab.ts'

const lab = new Lab('deno')
beforeAll(() => lab.open())
afterAll(() => lab.close())

test('by Deno: registers, resolves, opens, denies, changes and stops', async () => {
  lab.zone.set('good.example', [PUBLIC])
  lab.zone.set('other.example', [PUBLIC_TOO])
  const guest = await lab.addGuest(1)
  expect(await guest.dial(PUBLIC)).toBe('silent')
  const policy = { defaultAction: 'deny', egress: [{ action: 'allow', target: 'good.example' }] }
  expect((await lab.register(guest, policy)).status).toBe(204)
  expect(await guest.resolve('good.example')).toEqual({ rcode: 0, data: [PUBLIC] })
  expect(await guest.resolve('other.example', { transport: 'tcp' })).toEqual({ rcode: 3, data: [] })
  expect(await guest.dial(PUBLIC, 80, 'http:good.example')).toMatch(/^open/)
  expect(await guest.dial(PUBLIC, 80, 'http:other.example')).toBe('failed ECONNRESET')
  expect(await guest.dial(PRIVATE)).toMatch(/^failed E/)
  const patched = await lab.policy(guest.id, 'PATCH', [{ action: 'allow', target: 'other.example' }])
  expect(patched.status).toBe(200)
  expect(await guest.resolve('other.example')).toEqual({ rcode: 0, data: [PUBLIC_TOO] })
  expect((await lab.policy(guest.id, 'GET', undefined, 'wrong')).status).toBe(401)
  await lab.stop('SIGKILL')
  await lab.start()
  expect(await guest.dial(PUBLIC, 80, 'http:good.example')).toMatch(/^open/)
  expect((await lab.admin('DELETE', `/sandboxes/${guest.id}`)).status).toBe(204)
  expect(await lab.stop()).toBe(0)
  expect(await lab.rules()).toBe('')
})
