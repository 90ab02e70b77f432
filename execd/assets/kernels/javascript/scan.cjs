// Finds what must be changed in a cell before V8 can run it: declarations, imports and exports at the top level, and every
// `import(…)` and `import.meta`. This is no parser: it knows strings, templates, regular expressions and brackets, which is
// enough to tell a statement from a text that looks like one. When in doubt it finds nothing, and the cell runs as it is.

'use strict'

const IDENTIFIER = /[\p{ID_Start}$_][\p{ID_Continue}$\u200c\u200d]*/uy
const NUMBER = /(?:0[xob][\da-f_]+|(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:e[+-]?\d+)?)n?/iy
const SPACE = /(?:\s|\/\/[^\n]*|\/\*[\s\S]*?\*\/)+/y
const STRING = /'(?:[^'\\\n]|\\[\s\S])*'|"(?:[^"\\\n]|\\[\s\S])*"/y
const REGEXP = /\/(?:[^/\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/[a-z]*/y
const TEMPLATE_PART = /(?:[^`\\$]|\\[\s\S]|\$(?!\{))*/y

/** After these words a value begins, and so a `/` begins a regular expression. */
const BEFORE_VALUE = new Set(
  'await case delete do else extends in instanceof new of return throw typeof void yield'.split(' '),
)
/** After these words the statement goes on in the next line. */
const GOES_ON = new Set([
  ...BEFORE_VALUE,
  'async',
  'class',
  'const',
  'default',
  'export',
  'function',
  'let',
  'var',
])
const DECLARES = new Set(['async', 'class', 'const', 'export', 'function', 'import', 'let', 'var'])

/**
 * The words at the beginning of top-level statements, and all `import(` and `import.`, in order:
 * `{ word, at, kind: 'statement' | 'call' | 'meta' }`. Nothing when brackets or texts do not end.
 */
function scan(code) {
  const found = []
  /** Open brackets; a `${` of a template is one too. */
  const open = []
  /** What was found to be a call, by the number of brackets around it. */
  const calls = new Map()
  let at = 0
  /** The token before: a word, a punctuator, or `value` for what ends a value. */
  let before
  let isNewLine = true
  const take = (pattern) => {
    pattern.lastIndex = at
    const text = pattern.exec(code)?.[0] ?? ''
    at += text.length
    return text
  }
  const takeTemplate = () => {
    take(TEMPLATE_PART)
    if (code.startsWith('${', at)) {
      open.push('${')
      at += 2
      before = '{'
      return true
    }
    at++
    before = 'value'
    return code[at - 1] === '`'
  }

  if (code.startsWith('#!')) at = code.indexOf('\n') < 0 ? code.length : code.indexOf('\n')
  while (at < code.length) {
    const space = take(SPACE)
    if (space !== '') {
      if (space.includes('\n')) isNewLine = true
      continue
    }
    const start = at
    const char = code[at]
    const word = take(IDENTIFIER)
    if (word !== '') {
      const next =
        word === 'import' && before !== '.' ? /^\s*([(.])/.exec(code.slice(at, at + 100))?.[1] : undefined
      if (next) {
        const call = { word, at: start, kind: next === '(' ? 'call' : 'meta' }
        found.push(call)
        if (next === '(') calls.set(open.length, call)
      } else if (open.length === 0 && DECLARES.has(word) && beginsStatement(before, isNewLine))
        found.push({ word, at: start, kind: 'statement' })
      before = word
    } else if (take(NUMBER) !== '') {
      before = 'value'
    } else if (char === "'" || char === '"') {
      if (take(STRING) === '') return []
      before = 'value'
    } else if (char === '`') {
      at++
      if (!takeTemplate()) return []
    } else if (char === '/' && beginsValue(before)) {
      if (take(REGEXP) === '') return []
      before = 'value'
    } else if ('([{'.includes(char)) {
      open.push(char)
      at++
      before = char
    } else if (')]}'.includes(char)) {
      const opener = open.pop()
      at++
      const call = calls.get(open.length)
      calls.delete(open.length)
      // Before a block, it is a method of that name.
      if (call && /^\s*\{/.test(code.slice(at, at + 100))) found.splice(found.indexOf(call), 1)
      if (opener === '${') {
        if (char !== '}' || !takeTemplate()) return []
      } else {
        if (opener === undefined || '([{'.indexOf(opener) !== ')]}'.indexOf(char)) return []
        before = char
      }
    } else {
      const isDouble = (char === '+' || char === '-') && code[at + 1] === char
      at += isDouble ? 2 : 1
      // After a value it belongs to that value, before one to the next.
      if (!isDouble || beginsValue(before)) before = char
    }
    isNewLine = false
  }
  return open.length === 0 ? found : []
}

function beginsStatement(before, isNewLine) {
  if (before === undefined || before === ';' || before === '}') return true
  return (
    isNewLine &&
    (before === ')' || before === ']' || before === 'value' || (isWord(before) && !GOES_ON.has(before)))
  )
}

function beginsValue(before) {
  if (before === undefined) return true
  return isWord(before)
    ? BEFORE_VALUE.has(before)
    : !(before === 'value' || before === ')' || before === ']' || before === '}')
}

function isWord(token) {
  return token !== 'value' && /^[\p{ID_Start}$_]/u.test(token)
}

module.exports = { scan }
