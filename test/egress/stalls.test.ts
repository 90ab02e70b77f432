import { expect, test } from 'vitest'
import { Stalls } from '../../egress/stalls.ts'

type Seen = readonly [who: string, taken: number]

test.each<[what: string, looks: [at: number, waiting: Seen[], stalled: string[]][]]>([
  [
    'who takes nothing is found once it has been so for as long as it may',
    [
      [0, [['a', 5]], []],
      [99, [['a', 5]], []],
      [100, [['a', 5]], ['a']],
    ],
  ],
  [
    'who takes a little is not, however little',
    [
      [0, [['a', 5]], []],
      [90, [['a', 6]], []],
      [180, [['a', 7]], []],
      [279, [['a', 7]], []],
      [280, [['a', 7]], ['a']],
    ],
  ],
  [
    'who was owed nothing meanwhile begins anew, though it has taken nothing since',
    [
      [0, [['a', 5]], []],
      [50, [], []],
      [100, [['a', 5]], []],
      [150, [['a', 5]], []],
      [200, [['a', 5]], ['a']],
    ],
  ],
  [
    'who is found is told once, and again after as long',
    [
      [0, [['a', 5]], []],
      [100, [['a', 5]], ['a']],
      [110, [['a', 5]], []],
      [210, [['a', 5]], ['a']],
    ],
  ],
  [
    'each is judged by itself',
    [
      [0, [['a', 5]], []],
      [
        60,
        [
          ['a', 5],
          ['b', 5],
        ],
        [],
      ],
      [
        100,
        [
          ['a', 5],
          ['b', 5],
        ],
        ['a'],
      ],
      [160, [['b', 5]], ['b']],
    ],
  ],
])('%s', (_, looks) => {
  const stalls = new Stalls<string>(100)
  for (const [at, waiting, stalled] of looks) expect([at, stalls.look(waiting, at)]).toEqual([at, stalled])
})
