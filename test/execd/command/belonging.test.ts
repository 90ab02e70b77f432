import { describe, expect, test } from 'vitest'
import { findMembers, type Origin } from '../../../execd/command/belonging.ts'
import type { SeenProcess } from '../../../execd/command/process-scanner.ts'

const OURS = 'a'.repeat(32)
const LEADER = { pid: 100, startTime: 50 }

/** `[pid, parent, session, startTime, command mark, state]` */
type Row = [number, number, number, number, string?, string?]

const isMarked: Origin['isMarked'] = ({ marks }) => marks.command === OURS
const SPARED = new Set([1, 9, 10])

function seen(rows: Row[]): SeenProcess[] {
  return rows.map(([pid, parent, session, startTime, command, state = 'S']) => ({
    pid,
    parent,
    group: session,
    session,
    startTime,
    state,
    marks: command ? { command } : {},
  }))
}

function members(rows: Row[]): number[] {
  return findMembers(seen(rows), { leader: LEADER, isMarked }, SPARED).map(({ pid }) => pid)
}

/** init, what starts execd again, execd, and an entrypoint with a child. */
const SYSTEM: Row[] = [
  [1, 0, 1, 0],
  [9, 1, 1, 1],
  [10, 9, 1, 2],
  [20, 10, 20, 3, 'e'.repeat(32)],
  [21, 20, 20, 4, 'e'.repeat(32)],
]

describe('findMembers()', () => {
  test.each<[string, Row[], number[]]>([
    ['the leader', [[100, 10, 100, 50, OURS]], [100]],
    ['nothing, when there is nothing', [], []],
    [
      'children of children',
      [
        [100, 10, 100, 50],
        [101, 100, 100, 51],
        [102, 101, 100, 52],
      ],
      [100, 101, 102],
    ],
    [
      'what is in its session without a parent',
      [
        [100, 10, 100, 50],
        [103, 1, 100, 60],
      ],
      [100, 103],
    ],
    ['what is in its session when the leader is gone', [[103, 1, 100, 60]], [103]],
    [
      'a child in a session of its own',
      [
        [100, 10, 100, 50],
        [104, 100, 104, 60],
      ],
      [100, 104],
    ],
    [
      'what that child has left in it',
      [
        [100, 10, 100, 50],
        [104, 100, 104, 60],
        [105, 1, 104, 61],
      ],
      [100, 104, 105],
    ],
    ['whatever has its mark', [[106, 1, 106, 60, OURS]], [106]],
    [
      'unmarked children of the marked',
      [
        [106, 1, 106, 60, OURS],
        [107, 106, 107, 61],
      ],
      [106, 107],
    ],
    [
      'the session of the marked whose leader is gone',
      [
        [107, 1, 106, 61, OURS],
        [108, 1, 106, 62],
      ],
      [107, 108],
    ],
    [
      'no zombie',
      [
        [100, 10, 100, 50, OURS, 'Z'],
        [101, 1, 100, 51],
      ],
      [101],
    ],
    [
      'nothing of another command',
      [
        [100, 10, 100, 50],
        [200, 10, 200, 51, 'b'.repeat(32)],
      ],
      [100],
    ],
  ])('finds %s', (_what, rows, expected) => {
    expect(members([...SYSTEM, ...rows])).toEqual(expected)
  })

  test('R3: never takes a number for its own that someone else has by now', () => {
    // The number of the leader is another process's, which has made a session of it.
    expect(members([...SYSTEM, [100, 1, 100, 999], [101, 100, 100, 1000]])).toEqual([])
    // The number of a parent is another process's, which has begun after its child.
    const rows: Row[] = [
      [100, 10, 100, 50, OURS],
      [104, 100, 104, 900, OURS],
      [105, 104, 1, 70],
    ]
    expect(members([...SYSTEM, ...rows])).toEqual([100, 104])
  })

  test('never finds what is spared, nor its session, nor the living session of someone else', () => {
    // One in the entrypoint's session has taken our mark upon itself: it alone belongs.
    expect(members([...SYSTEM, [22, 20, 20, 60, OURS]])).toEqual([22])
    expect(members([...SYSTEM.slice(0, 2), [10, 9, 1, 2, OURS], [23, 1, 1, 60, OURS]])).toEqual([23])
    expect(
      members([
        [9, 1, 8, 1],
        [10, 9, 8, 2],
        [24, 1, 8, 60, OURS],
        [25, 1, 8, 61],
      ]),
    ).toEqual([24])
  })

  test('without a leader whose number can be trusted, goes by the mark alone', () => {
    const found = findMembers(
      seen([
        [103, 1, 100, 60],
        [106, 1, 106, 60, OURS],
      ]),
      { isMarked },
      SPARED,
    )
    expect(found.map(({ pid }) => pid)).toEqual([106])
  })

  test('tells whose whole group belongs, and whose does not', () => {
    const rows: Row[] = [...SYSTEM, [22, 20, 20, 60, OURS], [106, 1, 106, 60, OURS]]
    const found = findMembers(seen(rows), { isMarked }, SPARED)
    expect(found.map(({ pid, ownsGroup }) => [pid, ownsGroup])).toEqual([
      [22, false],
      [106, true],
    ])
  })
})
