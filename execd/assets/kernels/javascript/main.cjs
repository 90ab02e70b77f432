// The JavaScript and TypeScript kernel: `node main.cjs javascript|typescript`, its channel to execd being descriptor 3. Exits with
// status 78 when this Node cannot be one, so that another can be tried.

'use strict'

const [, , language] = process.argv
const isNewEnough = Number(process.versions.node.split('.')[0]) >= 22 && process.features.inspector
const knowsTypes = language === 'javascript' || require('node:module').stripTypeScriptTypes !== undefined
if (!isNewEnough || !knowsTypes) process.exit(78)

// What a program would see that was started without a file.
process.argv.splice(1)
const { startKernel } = require('./kernel.cjs')
startKernel(language)
