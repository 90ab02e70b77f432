import { expect, test } from 'vitest'
import { SdkLabels } from '../../../control/observe/sdk-labels.ts'

test.each([
  ['python', '1.1.1', 'python', '1.1.1'],
  ['javascript', '0.1.11', 'javascript', '0.1.11'],
  ['python', '1.2.0rc1', 'python', '1.2.0rc1'],
  ['kotlin', '1.0.0-SNAPSHOT', 'kotlin', '1.0.0-SNAPSHOT'],
  ['unknown', 'unknown', 'unknown', 'unknown'],
  ['cobol', '1.0.0', 'other', 'other'],
  ['python', 'anything', 'python', 'other'],
  ['python', '1.2.3.4.5', 'python', 'other'],
])('SdkLabels: %s %s is counted as %s %s', (language, version, ofLanguage, ofVersion) => {
  expect(new SdkLabels().of({ language, version })).toEqual({ language: ofLanguage, version: ofVersion })
})

test('SdkLabels: who invents versions of one language takes no places of another', () => {
  const labels = new SdkLabels()
  const told = Array.from({ length: 1000 }, (_, at) =>
    labels.of({ language: 'python', version: `1.0.${at}` }),
  )
  expect(new Set(told.map(({ version }) => version)).size).toBe(51)
  expect(labels.of({ language: 'python', version: '1.0.7' }).version).toBe('1.0.7')
  expect(labels.of({ language: 'go', version: '1.0.0' }).version).toBe('1.0.0')
})
