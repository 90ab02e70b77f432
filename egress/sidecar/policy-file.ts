// The one sandbox of a pod as it is remembered: its policy, in a file of its own (contract: egress.md 2.5). A file that is there is what
// somebody has last put in force, so it goes before the environment; one that cannot be read is no reason to allow what was allowed
// before it.

import { closeSync, fsyncSync, openSync, renameSync, rmSync, statSync, writeSync } from 'node:fs'
import { checkNetworkPolicy, formatPolicyProblem, type NetworkPolicy } from '../../lib/api/network-policy.ts'
import { messageOf } from '../../lib/errors.ts'
import { readIfThere } from '../../lib/program.ts'
import type { SandboxFiles, StoredSandbox } from '../sandbox-files.ts'

const NEW_FILE_MODE = 0o600

/** `sandbox` is the one that there is, whose policy is in the file. Loading throws one sentence when the file cannot be used. */
export function openPolicyFile(path: string, sandbox: Omit<StoredSandbox, 'policy'>): SandboxFiles {
  const draft = `${path}.new`
  return {
    load() {
      const policy = readPolicy(path)
      return policy ? [{ ...sandbox, policy }] : []
    },
    prepare({ policy }) {
      if (policy) writeDurably(draft, `${JSON.stringify(policy, undefined, 2)}\n`, modeOf(path))
      return {
        commit() {
          if (policy) renameSync(draft, path)
          else rmSync(path, { force: true })
        },
        discard: () => rmSync(draft, { force: true }),
      }
    },
    remove: () => rmSync(path, { force: true }),
  }
}

/** Undefined when there is none. A file that is empty was put there to be written. */
function readPolicy(path: string): NetworkPolicy | undefined {
  const refuse = (why: string, cause?: unknown) =>
    new Error(
      `Cannot use the policy in "${path}": ${why}. Mend the file, or remove it for the policy of the environment`,
      {
        cause,
      },
    )
  const text = readIfThere(path) ?? ''
  if (text.trim() === '') return undefined
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw refuse(messageOf(error), error)
  }
  const checked = checkNetworkPolicy(value)
  if (!('policy' in checked)) throw refuse(formatPolicyProblem(checked))
  return checked.policy
}

function modeOf(path: string): number {
  return (statSync(path, { throwIfNoEntry: false })?.mode ?? NEW_FILE_MODE) & 0o777
}

function writeDurably(path: string, text: string, mode: number): void {
  rmSync(path, { force: true })
  const file = openSync(path, 'wx', mode)
  try {
    writeSync(file, text)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
}
