// The rule of the house: control, gateway, execd, egress and launcher import themselves and lib; lib imports itself.

import { globSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { expect, test } from 'vitest'

const ROOT = join(import.meta.dirname, '..')
const PROGRAMS = ['control', 'gateway', 'execd', 'egress', 'launcher']

type Import = { file: string; line: number; to: string }

function importsOf(folder: string): Import[] {
  return globSync(`${folder}/**/*.{ts,mjs}`, { cwd: ROOT }).flatMap((file) =>
    readFileSync(join(ROOT, file), 'utf8')
      .split('\n')
      .flatMap((text, index) => {
        const path = /(?:from|import)\s*\(?\s*['"](\.[^'"]+)['"]/.exec(text)?.[1]
        if (!path) return []
        return [{ file, line: index + 1, to: relative(ROOT, join(ROOT, dirname(file), path)) }]
      }),
  )
}

/** Folders that know nothing of the program that they are in (docs/architecture.md). */
const BY_THEMSELVES = ['gateway/http1', 'egress/policy']

test.each([...PROGRAMS, 'lib', ...BY_THEMSELVES])('%s imports only itself and lib', (folder) => {
  const imports = importsOf(folder)
  expect(imports.length).toBeGreaterThan(0)
  const broken = imports.filter(({ to }) => !to.startsWith(`${folder}/`) && !to.startsWith('lib/'))
  expect(broken.map(({ file, line, to }) => `${file}:${line} imports ${to}`)).toEqual([])
})

// From top to bottom, as docs/architecture.md has them; those of one line may use each other.
const FOLDERS_OF_CONTROL = [
  ['routes'],
  ['access'],
  ['pools', 'templates', 'snapshots'],
  ['sandbox'],
  ['upkeep'],
  ['backup'],
  ['observe'],
  ['runtime', 'image'],
  ['store'],
]

test('a folder of control imports none that stands above it', () => {
  const levelOf = (path: string) =>
    FOLDERS_OF_CONTROL.findIndex((names) => names.some((name) => path.startsWith(`control/${name}/`)))
  const folders = new Set(globSync('control/*/', { cwd: ROOT }).map((path) => path.split('/')[1]))
  expect(new Set(FOLDERS_OF_CONTROL.flat())).toEqual(folders)
  const broken = importsOf('control').filter(
    ({ file, to }) => levelOf(to) >= 0 && levelOf(to) < levelOf(file),
  )
  expect(broken.map(({ file, line, to }) => `${file}:${line} imports ${to}`)).toEqual([])
})

test('nothing outside of main.ts reads process.env', () => {
  const readers = [...PROGRAMS.filter((name) => name !== 'launcher'), 'lib']
    .flatMap((folder) => globSync(`${folder}/**/*.ts`, { cwd: ROOT }))
    .filter((file) => !/\/main\.ts$/.test(file))
    .filter((file) => withoutTexts(readFileSync(join(ROOT, file), 'utf8')).includes('process.env'))
  expect(readers).toEqual([])
})

/** A source without what stands in quotes on one line: code that is handed to another program is no code of ours. */
function withoutTexts(source: string): string {
  return source.replace(/'[^'\n]*'|"[^"\n]*"|`[^`\n]*`/g, '')
}

test('there is no file that only passes on what others export', () => {
  const barrels = [...PROGRAMS, 'lib']
    .flatMap((folder) => globSync(`${folder}/**/*.ts`, { cwd: ROOT }))
    .filter((file) => /(^|\/)index\.ts$/.test(file))
  expect(barrels).toEqual([])
})
