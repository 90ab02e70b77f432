// Our own kernel of Go.

import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Daemon, startDaemon } from '../daemon.ts'
import { hasPrograms, skipUnless } from './needs.ts'
import { createContext, errorOf, resultsOf, runCode, startCode, stdoutOf, textsOf, typesOf } from './run.ts'

const PATH = `${process.env.PATH}:/usr/local/go/bin`
/** Shared by all runs of these tests: compiling the standard library takes longer than all of them. */
const GOCACHE = '/var/cache/opensandbox-test/go-build'

const hasGo = hasPrograms(['go'], PATH)

describe('Go', () => {
  skipUnless(hasGo, 'there is no Go toolchain')
  let execd: Daemon
  let go: string
  beforeAll(async () => {
    if (!hasGo) return
    execd = await startDaemon({ env: { PATH, HOME: '/tmp', GOCACHE } })
    go = await createContext(execd, 'go')
    await run('fmt.Println()')
  }, 120_000)
  afterAll(() => execd?.[Symbol.asyncDispose]())

  const run = (code: string, id = go) => runCode(execd, id, code)

  test('runs a whole program', async () => {
    const events = await run('package main\n\nimport "fmt"\n\nfunc main() {\n\tfmt.Println("héllo 漢😀")\n}')
    expect(stdoutOf(events)).toBe('héllo 漢😀\n')
    expect(typesOf(events)).toEqual(['init', 'execution_count', 'stdout', 'execution_complete'])
  })

  test('runs statements, keeps their variables, and shows the value of the last expression', async () => {
    await run('x := 41\nnames := []string{"a"}')
    await run('x++\nnames = append(names, "b")')
    expect(resultsOf(await run('x'))).toEqual(['42'])
    expect(resultsOf(await run('names'))).toEqual(['[a b]'])
    expect(resultsOf(await run('fmt.Sprint(x, len(names))'))).toEqual(['"42 2"'])
    expect(resultsOf(await run('strconv.Atoi("7")'))).toEqual(['7, <nil>'])
  })

  test('keeps functions, types with methods, constants and imports', async () => {
    await run(
      'import str "strings"\ntype Counter struct{ n int }\nfunc (c *Counter) Add() int { c.n++; return c.n }',
    )
    await run('const limit = 3\nfunc shout(s string) string { return str.Repeat(str.ToUpper(s), limit) }')
    await run('c := Counter{}\nc.Add()')
    expect(resultsOf(await run('c.Add()'))).toEqual(['2'])
    expect(resultsOf(await run('shout("a")'))).toEqual(['"AAA"'])
    await run('func shout(s string) string { return s + "!" }')
    expect(resultsOf(await run('shout("a")'))).toEqual(['"a!"'])
  })

  test('keeps what points to each other as it is', async () => {
    await run(
      'type Node struct {\n\tname string\n\tnext *Node\n}\na := &Node{name: "a"}\na.next = &Node{"b", a}\nb := a.next',
    )
    await run(
      'index := map[string]*Node{"a": a}\nsame := index\nn := 1\np := &n\nwhen := time.Unix(5, 0).UTC()',
    )
    await run('b.name = "B"\nsame["b"] = b\n*p = 2')
    const events = await run('[]any{a.next.name, b.next == a, index["b"] == b, len(index), n, when.Second()}')
    expect(resultsOf(events)).toEqual(['[B true true 2 2 5]'])
  })

  test('says of a variable that cannot be kept why, and keeps the rest', async () => {
    const events = await run('ch := make(chan int, 1)\nkept := 1')
    expect(textsOf(events, 'stderr')).toBe(
      '[ch is not there for later cells: a value of type chan int cannot be written down]\n',
    )
    expect(errorOf(await run('len(ch)'))?.evalue).toBe('line 1: undefined: ch')
    expect(resultsOf(await run('kept'))).toEqual(['1'])
    // These do nothing when they are declared again.
    await run('var later chan int\nadd := func(a, b int) int { return a + b }')
    expect(resultsOf(await run('[]any{later == nil, add(1, 2)}'))).toEqual(['[true 3]'])
    expect(resultsOf(await run('later == nil'))).toEqual(['true'])
    // But not once there is something to lose.
    expect(textsOf(await run('later = make(chan int)'), 'stderr')).toContain(
      '[later is not there for later cells',
    )
    expect(errorOf(await run('later'))?.evalue).toBe('line 1: undefined: later')
  })

  test('keeps what the standard library has for state', async () => {
    await run(
      'type Cache struct {\n\tmu sync.Mutex\n\thits atomic.Int64\n\tall map[string]int\n}\ncache := &Cache{all: map[string]int{}}',
    )
    await run(
      'var text strings.Builder\nvar buffer bytes.Buffer\nvar once sync.Once\ntext.WriteString("a")\nbuffer.WriteString("b")',
    )
    await run(
      'cache.mu.Lock()\ncache.all["x"]++\ncache.hits.Add(2)\nonce.Do(func() { text.WriteString("b") })',
    )
    const events = await run(
      'cache.mu.Lock()\nonce.Do(func() { text.WriteString("again") })\n[]any{cache.all["x"], cache.hits.Load(), text.String(), buffer.String()}',
    )
    expect(resultsOf(events)).toEqual(['[1 2 ab b]'])
  })

  test('tells where in the cell it cannot be compiled, and changes nothing then', async () => {
    await run('func good() int { return 1 }')
    const error = errorOf(await run('func good() int { return 2 }\n\n  y := nowhere\nif'))
    expect(error?.ename).toBe('CompileError')
    expect(errorOf(await run('a1 := 1\n  a2 := nowhere'))?.traceback).toEqual([
      'line 2: undefined: nowhere',
      '  a2 := nowhere',
      '        ^',
    ])
    expect(resultsOf(await run('good()'))).toEqual(['1'])
  })

  test('forgets what does not compile any more, and says so', async () => {
    await run(
      'type Shape struct{ side int }\nfunc area(s Shape) int { return s.side * s.side }\nsquare := Shape{2}',
    )
    const events = await run('type Shape struct{ radius int }')
    expect(textsOf(events, 'stderr')).toMatch(/^\[area is forgotten, as it does not compile any more: /)
    expect(textsOf(events, 'stderr')).toContain('[square begins anew, as its type has changed]')
    expect(resultsOf(await run('square'))).toEqual(['{0}'])
  })

  test.each([
    ['panic("broken")', 'panic', 'broken'],
    ['var list []int\nlist[3] = 1', 'panic', 'runtime error: index out of range [3] with length 0'],
    ['select {}', 'fatal error', 'all goroutines are asleep - deadlock!'],
    ['os.Exit(3)', 'ExitError', 'exit status 3'],
  ])('tells how %j failed', async (code, ename, evalue) => {
    expect(errorOf(await run(code))).toMatchObject({ ename, evalue })
  })

  test('keeps what was changed before a panic', async () => {
    await run('steps := 1')
    const error = errorOf(await run('steps = 2\npanic("late")'))
    expect(error?.traceback.join('\n')).toMatch(/cell-\d+:2/)
    expect(resultsOf(await run('steps'))).toEqual(['2'])
  })

  test.each([
    'for {\n}',
    // A program that does not care.
    'signal.Ignore(os.Interrupt)\nfmt.Println("ignoring")\nselect {\ncase <-time.After(time.Hour):\n}',
  ])('%j is interrupted, and all that was defined stays', async (code) => {
    await run('import "os/signal"\nstays := 7')
    const response = await startCode(execd, go, `fmt.Println("started")\n${code}`)
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader()
    let text = ''
    while (!text.includes('started')) text += (await reader?.read())?.value
    expect((await execd.call(`/code?id=${go}`, { method: 'DELETE' })).status).toBe(200)
    for (let part = await reader?.read(); !part?.done; part = await reader?.read()) text += part?.value
    expect(text).toContain('"ename":"KeyboardInterrupt"')
    expect(resultsOf(await run('stays'))).toEqual(['7'])
  })

  test('contexts know nothing of each other, begin where they are told, and leave nothing behind', async () => {
    const folder = join(execd.dir, 'go')
    const before = existsSync(folder) ? readdirSync(folder).length : 0
    const other = await createContext(execd, 'go', '/usr')
    expect(stdoutOf(await run('dir, _ := os.Getwd()\nfmt.Println(dir, os.Getenv("FROM_BOOT"))', other))).toBe(
      '/usr \n',
    )
    expect(errorOf(await run('x', other))?.evalue).toBe('line 1: undefined: x')
    expect(readdirSync(folder)).toHaveLength(before + 1)
    await execd.call(`/code/contexts/${other}`, { method: 'DELETE' })
    expect(readdirSync(folder)).toHaveLength(before)
  })

  test('says that a module is not to be had', async () => {
    const error = errorOf(await run('import "example.invalid/nothing"\nnothing.Do()'))
    expect(error?.ename).toMatch(/CompileError|BuildError/)
    expect(error?.evalue).toContain('example.invalid/nothing')
  })
})

test('J9: without a toolchain a context of Go is refused in words', async () => {
  await using execd = await startDaemon({
    entrypoint: ['/usr/bin/sleep', '1000'],
    env: { PATH: '/nonexistent' },
  })
  await expect(createContext(execd, 'go')).rejects.toThrow(
    /^Cannot make a context: 400 Cannot run go here: there is no "go" in PATH "\/nonexistent"/,
  )
})
