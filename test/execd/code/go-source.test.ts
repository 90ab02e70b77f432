// The parts of a cell of Go, and the programs that they become.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { describeProblem, parseBuildOutput, unusedImport } from '../../../execd/code/builtin/go-build.ts'
import { GoSession } from '../../../execd/code/builtin/go-session.ts'
import { type Part, parseCell, selectedNames } from '../../../execd/code/builtin/go-source.ts'

/** A part in short: its kind and names, and what else is told of it. */
function short(part: Part): string {
  switch (part.kind) {
    case 'package':
      return 'package'
    case 'import':
      return `import ${part.specs.map(({ name, path }) => (name ? `${name}=${path}` : path)).join()}`
    case 'statement':
      return ['statement', part.defines.map(({ name }) => name).join(), part.init, part.value]
        .filter(Boolean)
        .join(' ')
    case 'func':
      return `func ${part.receiver === undefined ? '' : `${part.receiver}.`}${part.names[0]?.name}`
    case 'var':
      return ['var', part.names.map(({ name }) => name).join(), part.init].filter(Boolean).join(' ')
    default:
      return `${part.kind} ${part.names.map(({ name }) => name).join()}`
  }
}

test.each<[string, string[]]>([
  ['', []],
  ['// only a comment', []],
  ['package main\n\nimport "fmt"', ['package', 'import fmt']],
  ['import (\n\t"fmt"\n\tm "math"\n\t. "strings"\n)', ['import fmt,m=math,.=strings']],
  ['func add(a, b int) int {\n\treturn a + b\n}', ['func add']],
  ['func Map[T, U any](a []T, f func(T) U) []U { return nil }', ['func Map']],
  ['func (p *P) Name() string { return "" }', ['func P.Name']],
  ['func (s Set[T]) Has(v T) bool { return true }', ['func Set.Has']],
  ['func (P) Do() {}', ['func P.Do']],
  ['func() { run() }()', ['statement call']],
  ['type P struct{ X int }\ntype (\n\tA int\n\tB = A\n)', ['type P', 'type A', 'type B']],
  ['const (\n\ta = iota\n\tb\n)\nconst c = 1', ['const a,b', 'const c']],
  ['var a, b = 1, 2\nvar (\n\tc int\n\td = func() {}\n)', ['var a,b other', 'var c', 'var d func']],
  ['x := 1; y, err := f()', ['statement x other', 'statement y,err other']],
  ['f := func(a int) int { return a }', ['statement f func']],
  ['v := func() int { return 1 }()', ['statement v other']],
  ['2 + 2', ['statement plain']],
  ['f(1)', ['statement call']],
  ['f(1) + g(2)', ['statement plain']],
  ['p.Do(\n\t1,\n).Then(2)', ['statement call']],
  ['a[1]', ['statement plain']],
  ['[]int{1, 2}', ['statement plain']],
  ['&P{}', ['statement plain']],
  ['<-ch', ['statement plain']],
  ['x++', ['statement']],
  ['x += 1', ['statement']],
  ['x == 1', ['statement plain']],
  ['ch <- 1', ['statement']],
  ['for i := 0; i < 3; i++ { f(i) }', ['statement']],
  ['if x := f(); x > 0 {\n} else if y := g(); y {\n}', ['statement']],
  ['if f := func() bool { return true }; f() { g() }', ['statement']],
  ['switch v := x.(type) {\ncase int:\n\tf(); g()\n}\nx', ['statement', 'statement plain']],
  ['loop:\nfor {\n\tbreak loop\n}', ['statement']],
  [
    's := "a;b\\"{"; r := \'{\'; t := `\n;{`',
    ['statement s other', 'statement r other', 'statement t other'],
  ],
  ['x /* a\nb */ y', ['statement plain', 'statement plain']],
  ['x := 1 // {\ny := 2 /* { */', ['statement x other', 'statement y other']],
  ['größe := 1', ['statement größe other']],
])('parseCell(%j) finds %j', (source, parts) => {
  expect(parseCell(source).map(short)).toEqual(parts)
})

test('parseCell() finds parts in any text, one after the other, and never throws', () => {
  const piece = fc.constantFrom(
    ...[
      'func',
      'var',
      'type',
      '(',
      ')',
      '{',
      '}',
      '[',
      ']',
      ':=',
      '=',
      ';',
      '\n',
      '"',
      '`',
      "'",
      '/*',
      '*/',
      '//',
      'x',
      '1',
    ],
    ...['if', 'for', ' ', ',', '.', 'import', 'const', '😀'],
  )
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => {
      const source = pieces.join('')
      let at = 0
      for (const { start, end } of parseCell(source)) {
        expect(start).toBeGreaterThanOrEqual(at)
        expect(end).toBeGreaterThan(start)
        at = end
      }
      expect(at).toBeLessThanOrEqual(source.length)
    }),
  )
})

test('names that something is selected from may be packages', () => {
  expect([...selectedNames('fmt.Println(a.b.c, "x.y", f().z) // p.q')]).toEqual(['fmt', 'a'])
})

describe('a session', () => {
  const options = { statePath: '/state', unwanted: new Set<string>(), showsCall: true }
  const files = (session: GoSession, source: string, cell: number) => {
    const program = session.plan(source, { ...options, cell })
    program.commit()
    return program.files
  }

  test('imports in each file what it uses: what was imported, and the standard library by itself', () => {
    const session = new GoSession()
    files(session, 'import str "strings"\nfunc up(s string) string { return str.ToUpper(s) }', 1)
    const after = files(session, 'fmt.Println(up("a"))', 2)
    expect(after['cell_1.go']).toContain('import str "strings"')
    expect(after['cell_2.go']).toContain('import "fmt"')
    expect(after['cell_2.go']).not.toContain('strings')
  })

  test('declares a name once: a later declaration takes the place of an earlier one', () => {
    const session = new GoSession()
    files(
      session,
      'func f() int { return 1 }\ntype T struct{}\nfunc (T) M() {}\nconst (\n\ta = iota\n\tb\n)',
      1,
    )
    const after = files(session, 'func f() int { return 2 }\nfunc (T) M() { }\nvar a = "x"', 2)
    expect(after['cell_1.go']).not.toContain('return 1')
    expect(after['cell_1.go']).not.toContain('M()')
    expect(after['cell_1.go']).toContain('const (\n\t_ = iota\n\tb\n)')
  })

  test('a method takes its name within its type only', () => {
    const session = new GoSession()
    const program = session.plan('Add := 1\ninit := 2', { ...options, cell: 1 })
    program.commit()
    const told = { type: 'int', why: '', imports: {}, own: [], isZero: false }
    session.keep([{ name: 'Add', ...told }], program)
    files(session, 'type C int\nfunc (C) Add() {}\nfunc (C) init() {}', 2)
    const after = files(session, 'Add', 3)
    expect(after['a_kept.go']).toContain('var Add int\n')
    expect(after['cell_2.go']).toContain('func (C) Add() {}')
    expect(after['cell_2.go']).toContain('func (C) init() {}')
  })

  test('goes back to what it was when a cell cannot be compiled', () => {
    const session = new GoSession()
    files(session, 'func f() {}', 1)
    const back = session.save()
    files(session, 'func f() { broken', 2)
    back()
    expect(files(session, 'f()', 3)['cell_1.go']).toContain('func f() {}')
  })

  test('declares variables again with the types and the packages that the program told', () => {
    const session = new GoSession()
    const program = session.plan('d := time.Second\nvar mu sync.Mutex\nch := make(chan int)', {
      ...options,
      cell: 1,
    })
    program.commit()
    const told = (name: string, type: string, why = '', imports = {}) => ({
      ...{ name, type, why, imports, own: [] },
      isZero: name === 'mu',
    })
    const lost = session.keep(
      [
        told('d', 'k_time.Duration', '', { k_time: 'time' }),
        told('mu', '', 'no'),
        told('ch', '', 'it is a channel'),
      ],
      program,
    )
    expect(lost).toEqual([{ name: 'ch', why: 'it is a channel' }])
    const after = files(session, 'd', 2)
    expect(after['a_kept.go']).toContain('import k_time "time"\n')
    expect(after['a_kept.go']).toContain('var d k_time.Duration\n')
    expect(after['a_kept.go']).toContain('"d", &d, "mu", &mu)')
    expect(after['cell_1.go']).toContain('var mu sync.Mutex')
  })

  test('tells the compiler where in the cell each part is', () => {
    const { 'cell_4.go': text = '' } = files(new GoSession(), 'x := 1\n\n  y := "é"; z := 2\nfunc f() {}', 4)
    expect(text).toContain('//line cell-4:1:1\nx := 1; k_keep("x", &x)\n')
    expect(text).toContain('//line cell-4:3:3\ny := "é"')
    expect(text).toContain('//line cell-4:3:14\nz := 2')
    expect(text).toContain('//line cell-4:4:1\nfunc f() {}')
  })
})

describe('the words of the compiler', () => {
  const output =
    '# cell\n./cell-2:3:5: undefined: x\ncell-2:4:1: too many errors:\n\thave a\n\twant b\n./cell_2.go:2:8: "os" imported and not used\n'

  test('are told by place', () => {
    expect(parseBuildOutput(output)).toEqual([
      { where: 'cell-2', line: 3, column: 5, message: 'undefined: x' },
      { where: 'cell-2', line: 4, column: 1, message: 'too many errors:\nhave a\nwant b' },
      { where: 'cell_2.go', line: 2, column: 8, message: '"os" imported and not used' },
    ])
    expect(parseBuildOutput(output).map(unusedImport)).toEqual([undefined, undefined, 'cell_2.go os'])
  })

  test('are shown with the line that they are about', () => {
    const problem = { where: 'cell-2', line: 2, column: 3, message: 'undefined: x' }
    expect(describeProblem(problem, 'a\n\t x')).toEqual(['line 2: undefined: x', '\t x', '\t ^'])
    expect(describeProblem({ ...problem, line: 9 }, 'a\nb')).toEqual(['line 2: undefined: x'])
  })
})
