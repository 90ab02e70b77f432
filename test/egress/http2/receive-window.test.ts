import { expect, test } from 'vitest'
import { ReceiveWindow } from '../../../egress/http2/receive-window.ts'

test('what was let go is granted anew once it is worth a frame, and then as much more may come', () => {
  const window = new ReceiveWindow(100)
  expect([window.receive(100), window.heldBytes]).toEqual([true, 100])
  expect([window.letGo(40), window.grant(50)]).toEqual([40, 0])
  expect([window.letGo(10), window.grant(50), window.grant(50)]).toEqual([10, 50, 0])
  expect([window.receive(50), window.heldBytes, window.receive(1)]).toEqual([true, 100, false])
})

test('no more is let go than was held', () => {
  const window = new ReceiveWindow(100)
  window.receive(30)
  expect([window.letGo(20), window.letGo(Number.POSITIVE_INFINITY), window.letGo(1)]).toEqual([20, 10, 0])
  expect([window.heldBytes, window.grant(0), window.receive(100), window.receive(1)]).toEqual([
    0,
    30,
    true,
    false,
  ])
})
