// Patterns against what they mean, said as plainly as possible: all ways to match are tried one after the other.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createGlob, GlobError } from '../../../execd/files/glob.ts'
import { processorMs } from '../../support/fair-time.ts'

type Pattern =
  | { kind: 'text'; text: string }
  | { kind: '?' | '*' | '**' | '**/' }
  | { kind: 'class'; chars: string[]; negated: boolean }
  | { kind: 'or'; options: Pattern[][] }
  | { kind: 'not'; options: Pattern[][] }

const SPECIAL = /[\\*?[\]{},!()|]/g

function write(pattern: Pattern[]): string {
  return pattern
    .map((part) => {
      switch (part.kind) {
        case 'text':
          return part.text.replace(SPECIAL, '\\$&')
        case 'class':
          return `[${part.negated ? '!' : ''}${part.chars.join('')}]`
        case 'or':
          return `{${part.options.map(write).join(',')}}`
        case 'not':
          return `!(${part.options.map(write).join('|')})`
        default:
          return part.kind
      }
    })
    .join('')
}

/** All places at which `pattern` can end when it begins at `from`. */
function ends(pattern: Pattern[], name: string, from: number): Set<number> {
  const [first, ...rest] = pattern
  if (!first) return new Set([from])
  const found = new Set<number>()
  for (const end of endsOfPart(first, name, from)) for (const last of ends(rest, name, end)) found.add(last)
  return found
}

function endsOfPart(part: Pattern, name: string, from: number): number[] {
  const places = Array.from({ length: name.length - from + 1 }, (_, index) => from + index)
  const char = name[from]
  switch (part.kind) {
    case 'text':
      return name.startsWith(part.text, from) ? [from + part.text.length] : []
    case '?':
      return char !== undefined && char !== '/' ? [from + 1] : []
    case 'class':
      return char !== undefined && char !== '/' && part.chars.includes(char) !== part.negated
        ? [from + 1]
        : []
    case '*':
      return places.filter((end) => !name.slice(from, end).includes('/'))
    case '**':
      return places
    case '**/':
      return places.filter((end) => end === from || name[end - 1] === '/')
    case 'or':
      return part.options.flatMap((option) => [...ends(option, name, from)])
    case 'not':
      return places.filter(
        (end) =>
          !name.slice(from, end).includes('/') &&
          !part.options.some((option) => ends(option, name, from).has(end)),
      )
  }
}

const text = fc.constantFrom('a', 'b', '/', 'ab', '*', '?', '[', '{', '!', '(', ',', '\\', '.')
const simple: fc.Arbitrary<Pattern> = fc.oneof(
  text.map((chars): Pattern => ({ kind: 'text', text: chars })),
  fc.constantFrom<Pattern>({ kind: '?' }, { kind: '*' }, { kind: '**/' }),
  fc.record({
    kind: fc.constant('class' as const),
    chars: fc.uniqueArray(fc.constantFrom('a', 'b', '.'), { minLength: 1 }),
    negated: fc.boolean(),
  }),
)
const isStar = (part: Pattern | undefined) => part?.kind.startsWith('*') ?? false
// Braces are expanded as text, and two stars that meet are others than the two.
const meet = (a: Pattern, b: Pattern | undefined) =>
  (isStar(a) && isStar(b)) ||
  (a.kind === '**' && b?.kind === 'text' && b.text.startsWith('/')) ||
  (a.kind === 'text' && a.text.endsWith('!') && b?.kind === 'text' && b.text.startsWith('('))
const sequence = (part: fc.Arbitrary<Pattern>, maxLength: number) =>
  fc.array(part, { maxLength }).filter((parts) => !parts.some((one, at) => meet(one, parts[at + 1])))
const options = (part: fc.Arbitrary<Pattern>) => fc.array(sequence(part, 3), { minLength: 1, maxLength: 3 })
const plain = simple.filter((part) => !isStar(part) && !(part.kind === 'text' && /[!(/]/.test(part.text)))
const inNot = simple.filter((part) => part.kind !== '**/')
const pattern = sequence(
  fc.oneof(
    { weight: 5, arbitrary: simple },
    { weight: 1, arbitrary: fc.constant<Pattern>({ kind: '**' }) },
    { weight: 1, arbitrary: options(plain).map((found): Pattern => ({ kind: 'or', options: found })) },
    { weight: 1, arbitrary: options(inNot).map((found): Pattern => ({ kind: 'not', options: found })) },
  ),
  6,
  // An empty option lets its neighbours meet.
).filter((parts) => !/\*\*\*|\*\*?\{|\}\*|!\{/.test(write(parts)))

test('createGlob() matches what the pattern means, and nothing else', () => {
  const name = fc.string({ unit: fc.constantFrom('a', 'b', '/', '.', '*', '\\'), maxLength: 10 })
  fc.assert(
    fc.property(pattern, name, (parts, candidate) => {
      expect([write(parts), candidate, createGlob(write(parts))(candidate)]).toEqual([
        write(parts),
        candidate,
        ends(parts, candidate, 0).has(candidate.length),
      ])
    }),
    { numRuns: 3000 },
  )
})

test('createGlob() takes or refuses any text, and matches any name without failing', () => {
  const anyPattern = fc.string({
    unit: fc.constantFrom(...'ab/*?[]{}!()|,-^\\😀'.split(/(?:)/u), '\udcff'),
    maxLength: 30,
  })
  fc.assert(
    fc.property(anyPattern, fc.string({ unit: 'binary', maxLength: 30 }), (wanted, name) => {
      let matches: (name: string) => boolean
      try {
        matches = createGlob(wanted)
      } catch (error) {
        expect(error).toBeInstanceOf(GlobError)
        return
      }
      expect(typeof matches(name)).toBe('boolean')
    }),
    { numRuns: 3000 },
  )
})

test('createGlob() takes no time for many exclusions of a long name', () => {
  const took = processorMs(() => {
    const matches = createGlob(`*${'!(a*b*c|*d)'.repeat(8)}`)
    expect(typeof matches('abcd'.repeat(60))).toBe('boolean')
  })
  expect(took).toBeLessThan(5000)
})
