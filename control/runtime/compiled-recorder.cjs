// Loaded into execd before its start when keep-compiled.ts runs it: at its end, what V8 has compiled of it by then is written
// to the file that COMPILED_FILE names.

const { writeFileSync } = require('node:fs')
const v8 = require('node:v8')
const vm = require('node:vm')

let script
vm.Script = class extends vm.Script {
  constructor(code, options) {
    super(code, options)
    script ??= this
  }
}
// V8 takes compiled code only where its flags are those that it was compiled with; execd changes one once it runs.
v8.setFlagsFromString = () => {}

process.on('exit', () => writeFileSync(process.env.COMPILED_FILE, script.createCachedData()))
