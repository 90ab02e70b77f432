// What execd needs at its start in one file. The bundler cuts what several programs and late parts share into a file for each
// combination of them, dozens by now, and to find, read and compile every one costs the start of a sandbox 5 ms. So those that
// are needed at once are put together, each as a function that runs when it is first asked for, and a file of the old name
// hands on what is in there: a late part gets the very same module as the start.
//
// Beside that file may lie what V8 has made of it (keep-compiled.ts), which is read and not made anew at each start.

/** Runs the code, and hands out the modules in it by name. */
export const START_FILE = 'start.js'
/** The code: one expression, a function. */
export const CODE_FILE = 'start-code.js'
/** The same, compiled. Whatever V8 does not take is compiled from the code. */
export const COMPILED_FILE = 'start-code.bin'

/** A file of the bundle, as CommonJS, with the files that it needs as soon as it is loaded. */
export type BundledFile = { name: string; code: string; needs: string[] }

/** Gathers `entry` and all that it needs at once. Gives every file of the bundle by name. */
export function gatherStart(files: BundledFile[], entry: string): Map<string, string> {
  const byName = new Map(files.map((file) => [file.name, file]))
  const atOnce = new Set<string>()
  const visit = (name: string) => {
    if (atOnce.has(name)) return
    atOnce.add(name)
    for (const needed of byName.get(name)?.needs ?? []) visit(needed)
  }
  visit(entry)

  const made = new Map<string, string>()
  const modules: string[] = []
  for (const { name, code } of files) {
    if (!atOnce.has(name)) {
      made.set(name, code)
      continue
    }
    const key = JSON.stringify(`./${name}`)
    modules.push(`${key}(require,module,exports){${code}\n}`)
    made.set(name, `module.exports=require("./${START_FILE}")(${key});\n`)
  }
  made.set(
    CODE_FILE,
    `(function(require,__dirname){
const modules={${modules.join(',')}},loaded={};
return function load(name){
  if(!Object.hasOwn(modules,name))return require(name);
  if(!Object.hasOwn(loaded,name)){const module=loaded[name]={exports:{}};modules[name](load,module,module.exports)}
  return loaded[name].exports
}})
`,
  )
  made.set(
    START_FILE,
    `const{readFileSync}=require("node:fs"),{Script}=require("node:vm"),filename=__dirname+"/${CODE_FILE}";
let cachedData;
try{cachedData=readFileSync(__dirname+"/${COMPILED_FILE}")}catch{}
module.exports=new Script(readFileSync(filename,"utf8"),{filename,cachedData}).runInThisContext()(require,__dirname);
`,
  )
  return made
}
