// Values as execd sends them to clients: texts by MIME type.

'use strict'

const { inspect } = require('node:util')

const MAX_TEXT = 1 << 20
const MAX_DATA = 8 << 20
/** How values of other JavaScript kernels say what they look like. */
const DISPLAY = Symbol.for('Jupyter.display')

/** All forms of a value. */
async function formatValue(value) {
  const own = value?.[DISPLAY]
  const data = typeof own === 'function' ? await own.call(value) : undefined
  return toTexts({
    'text/plain': inspect(value, { maxStringLength: MAX_TEXT }),
    ...(isData(data) ? data : {}),
  })
}

/** The same by MIME type with every value a text of bounded length. */
function toTexts(data) {
  const texts = {}
  let room = MAX_DATA
  for (const [mime, value] of Object.entries(data)) {
    const text = toText(value)
    if (text === undefined) continue
    if (mime === 'text/plain' && text.length > MAX_TEXT)
      texts[mime] = `${text.slice(0, MAX_TEXT)}… (${text.length - MAX_TEXT} characters more)`
    else if (text.length > room)
      process.stderr.write(`A result of type ${mime} was left out, as it has ${text.length} characters\n`)
    else texts[mime] = text
    room -= texts[mime]?.length ?? 0
  }
  return texts
}

function toText(value) {
  if (typeof value === 'string') return value
  if (ArrayBuffer.isView(value))
    return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64')
  return JSON.stringify(value)
}

function isData(value) {
  return typeof value === 'object' && value !== null && Object.keys(value).some((key) => key.includes('/'))
}

/** `display(value)` and `display.html(text)` and its relatives: `show` is given the forms. */
function createDisplay(show) {
  // Forms by MIME type are taken as they are; values that have to be asked for theirs are waited for by the cell.
  const display = (value, { raw = false } = {}) => {
    if (raw && isData(value)) show(toTexts(value))
    else if (typeof value?.[DISPLAY] === 'function') return formatValue(value).then(show)
    else show(toTexts({ 'text/plain': inspect(value, { maxStringLength: MAX_TEXT }) }))
  }
  const kinds = {
    html: 'text/html',
    markdown: 'text/markdown',
    svg: 'image/svg+xml',
    png: 'image/png',
    jpeg: 'image/jpeg',
    json: 'application/json',
    text: 'text/plain',
  }
  for (const [name, mime] of Object.entries(kinds)) {
    display[name] = (value) =>
      show(toTexts({ [mime]: mime === 'application/json' ? JSON.stringify(value) : value }))
  }
  return display
}

module.exports = { formatValue, createDisplay }
