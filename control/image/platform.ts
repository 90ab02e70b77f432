import type { Platform } from '../../lib/api/lifecycle.ts'
import { RuntimeError } from '../runtime/runtime.ts'

const OCI_ARCHES: Partial<Record<NodeJS.Architecture, string>> = { x64: 'amd64', arm64: 'arm64' }

/** Throws when an image is for another machine than is wanted, this one when nothing is. One that says nothing is taken at its word. */
export function requirePlatform(
  { os, arch }: { os: string; arch: string },
  shownAs: string,
  wanted: Platform = { os: 'linux', arch: OCI_ARCHES[process.arch] ?? process.arch },
): void {
  if (arch === '' || arch === wanted.arch) return
  throw new RuntimeError(
    'platform_mismatch',
    `Image "${shownAs}" is for ${os || 'linux'}/${arch}, but ${wanted.os}/${wanted.arch} is needed here`,
  )
}
