// What execd needs at its start in one file. The bundler cuts what several programs and late parts share into a file for each
// combination of them, dozens by now, and to find, read and compile every one costs the start of a sandbox 5 ms. So those that
// are needed at once are put into `start.js`, each as a function that runs when it is first asked for, and a file of the old name
// hands on what is in there: a late part gets the very same module as the start.

export const START_FILE = 'start.js'

/** A file of the bundle, as CommonJS, with the files that it needs as soon as it is loaded. */
export type BundledFile = { name: string; code: string; needs: string[] }

/** Gathers all that `entry` needs at once. Gives every file of the bundle by name. */
export function gatherStart(files: BundledFile[], entry: string): Map<string, string> {
  const byName = new Map(files.map((file) => [file.name, file]))
  const atOnce = new Set<string>()
  const visit = (name: string) => {
    if (atOnce.has(name)) return
    atOnce.add(name)
    for (const needed of byName.get(name)?.needs ?? []) visit(needed)
  }
  visit(entry)
  atOnce.delete(entry)
  if (atOnce.size === 0) return new Map(files.map(({ name, code }) => [name, code]))

  const made = new Map<string, string>()
  const modules: string[] = []
  for (const { name, code } of files) {
    const key = JSON.stringify(`./${name}`)
    if (atOnce.has(name)) {
      modules.push(`${key}(require,module,exports){${code}\n}`)
      made.set(name, `module.exports=require("./${START_FILE}")(${key});\n`)
    } else if (name === entry) made.set(name, `(require=>{${code}\n})(require("./${START_FILE}"));\n`)
    else made.set(name, code)
  }
  made.set(
    START_FILE,
    `const modules={${modules.join(',')}},loaded={};
module.exports=function load(name){
  if(!Object.hasOwn(modules,name))return require(name);
  if(!Object.hasOwn(loaded,name)){const module=loaded[name]={exports:{}};modules[name](load,module,module.exports)}
  return loaded[name].exports
};
`,
  )
  return made
}
