// Makes a cell what V8 runs in its mode for interactive use, which keeps declarations, lets them be declared again, and knows
// top-level `await`. Lines stay where they are.

'use strict'

const { scan } = require('./scan.cjs')

const IMPORT = '__import__'
const META = '__import_meta__'
const STATEMENT =
  /import\s*(?:([\w$]+)\s*(?:,\s*)?)?(?:\*\s*as\s+([\w$]+)\s*|\{([^}]*)\}\s*)?(?:from\s*)?('[^'\n]*'|"[^"\n]*")(?:\s*(?:with|assert)\s*(\{[^}]*\}))?/y
const EXPORT_LIST = /export\s*(?:\{[^}]*\}|\*(?:\s*as\s+[\w$]+)?)(?:\s*from\s*(?:'[^'\n]*'|"[^"\n]*"))?/y

/** The cell as it is run. */
function rewrite(code) {
  return edit(code, (found) => {
    if (found.kind === 'call') return { length: 6, text: IMPORT }
    if (found.kind === 'meta') return { length: lengthOf(/import\s*\.\s*meta/y, code, found.at), text: META }
    // A constant could be declared again only as a constant.
    if (found.word === 'const') return { length: 5, text: 'let  ' }
    if (found.word === 'import') return rewriteImport(code, found.at)
    if (found.word === 'export') return rewriteExport(code, found.at)
    return undefined
  })
}

/**
 * The cell after V8 has said that `name` is declared already, as another kind of thing: what a function or `var` has made
 * cannot be made again by `let` or `class`, nor the other way round. Undefined when the cell does not declare it in a simple way.
 */
function redeclare(code, name) {
  let isChanged = false
  const changed = edit(code, ({ word, at, kind }) => {
    if (kind !== 'statement') return undefined
    const text = code.slice(at, at + 200 + name.length)
    const declares = (pattern) => pattern.exec(text)?.[1] === name
    let change
    if (word === 'let' && declares(/^let\s+([\w$]+)/)) change = { length: 3, text: 'var' }
    else if (word === 'class' && declares(/^class\s+([\w$]+)/)) change = { length: 0, text: `var ${name} = ` }
    else if (word === 'var' && declares(/^var\s+([\w$]+)/)) change = { length: 3, text: 'let' }
    else if (declares(/^(?:async\s+)?function\s*\*?\s*([\w$]+)/)) change = { length: 0, text: `${name} = ` }
    isChanged ||= change !== undefined
    return change
  })
  return isChanged ? changed : undefined
}

function rewriteImport(code, at) {
  STATEMENT.lastIndex = at
  const match = STATEMENT.exec(code)
  if (!match) return undefined
  const [whole, main, space, list, from, attributes] = match
  const imported = `await ${IMPORT}(${from}${attributes ? `, { with: ${attributes} }` : ''})`
  const names = [
    ...(main ? [`default: ${main}`] : []),
    ...(list ?? '')
      .split(',')
      .map((item) => item.trim())
      .filter((item) => item !== '' && !item.startsWith('type '))
      .map((item) => item.replace(/^([\w$]+|'[^']*'|"[^"]*")\s+as\s+/, '$1: ')),
  ]
  const lines = '\n'.repeat(whole.split('\n').length - 1)
  let text = imported
  if (space) text = `let ${space} = ${imported}${main ? `, { default: ${main} } = ${space}` : ''}`
  else if (main || list !== undefined) text = `let { ${names.join(', ')} } = ${imported}`
  return { length: whole.length, text: text + lines }
}

/** What a cell exports is simply declared. */
function rewriteExport(code, at) {
  const list = lengthOf(EXPORT_LIST, code, at)
  if (list > 0) return { length: list, text: code.slice(at, at + list).replace(/[^\n]/g, ' ') }
  const isDefault = lengthOf(/export\s+default\s+/y, code, at)
  if (isDefault > 0) {
    const isDeclaration = /^(?:async\s+)?(?:function\s*\*?|class)\s+[\w$]/.test(
      code.slice(at + isDefault, at + isDefault + 100),
    )
    return { length: isDefault, text: ' '.repeat(isDeclaration ? isDefault : 1) }
  }
  const length = lengthOf(/export\s+/y, code, at)
  const isConst = code.startsWith('const', at + length)
  return { length: isConst ? length + 5 : length, text: ' '.repeat(length) + (isConst ? 'let  ' : '') }
}

function lengthOf(pattern, code, at) {
  pattern.lastIndex = at
  return pattern.exec(code)?.[0].length ?? 0
}

/** The code with what `change` says in the place of what was found. */
function edit(code, change) {
  let result = ''
  let done = 0
  for (const found of scan(code)) {
    if (found.at < done) continue
    const replacement = change(found)
    if (!replacement) continue
    result += code.slice(done, found.at) + replacement.text
    done = found.at + replacement.length
  }
  return result + code.slice(done)
}

module.exports = { rewrite, redeclare, IMPORT, META }
