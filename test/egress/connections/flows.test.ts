import { expect, test } from 'vitest'
import { addName, type Flow, Flows } from '../../../egress/connections/flows.ts'

const flow = (end = () => {}): Flow => ({
  address: '198.51.100.1',
  port: 443,
  isByAddress: false,
  names: new Set(),
  aliases: new Set(),
  end,
})
const fill = (flows: Flows, id: string) => {
  const added: Flow[] = []
  for (;;) {
    const next = flow()
    if (!flows.add(id, next)) return added
    added.push(next)
  }
}

test('sandboxes that take all they can leave room for the next one', () => {
  const flows = new Flows({ perSandbox: 4, total: 10 })
  const loud = ['a', 'b', 'c'].map((id) => fill(flows, id))
  expect(loud.map(({ length }) => length)).toEqual([4, 3, 2])
  expect(flows.add('quiet', flow())).toBe(true)
  expect(flows.total).toBe(10)
  for (const each of loud[0] ?? []) flows.remove('a', each)
  // Twice is as good as once.
  for (const each of loud[0] ?? []) flows.remove('a', each)
  expect(flows.total).toBe(6)
})

test('the end of a sandbox ends its own', () => {
  const flows = new Flows({ perSandbox: 4, total: 10 })
  const ended: string[] = []
  for (const id of ['a', 'b']) {
    const one = flow(() => {
      ended.push(id)
      flows.remove(id, one)
    })
    flows.add(id, one)
  }
  flows.endAll('a')
  expect(ended).toEqual(['a'])
  flows.endEvery()
  expect([ended, flows.total]).toEqual([['a', 'b'], 0])
})

test('of a connection so many names are known and no more, with what they are aliases for', () => {
  const one = flow()
  const said = (count: number, aliases: string[]) =>
    Array.from({ length: count }, (_, index) => addName(one, `${index}.example`, aliases)).lastIndexOf(true)
  expect(said(2000, ['alias.example'])).toBe(125)
  expect([...one.aliases]).toEqual(['alias.example'])
  expect(addName(one, '0.example', ['another.example'])).toBe(true)
})
