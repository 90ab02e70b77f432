// Names of their own for sandboxes (control/routes/domains.ts). An addition to the contract.

import { z } from 'zod'
import { exactFields, integer } from './lifecycle-coerce.ts'

export const MAX_DOMAINS = 20
const NAME = /^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?$/

/** Body of `PUT /sandboxes/{id}/domains/{name}`. */
export const domainRequestSchema = exactFields({ port: integer(1, 65535) })

export const domainSchema = z.object({
  name: z.string(),
  sandboxId: z.string(),
  port: z.number(),
  createdAt: z.iso.datetime({ offset: true }),
  createdBy: z.string().optional(),
})
export const domainListSchema = z.object({ items: z.array(domainSchema) })
export type DomainAnswer = z.output<typeof domainSchema>

/** A name as it is looked up: in lower case, without the final dot; undefined when it is none, such as an address. */
export function canonicalName(text: string): string | undefined {
  const name = text.toLowerCase().replace(/\.$/, '')
  return name.length <= 253 && NAME.test(name) ? name : undefined
}

/** Whether a name is one of those that may be given away: itself, below `*.`, or any for `*`. */
export function isAllowedName(name: string, patterns: readonly string[]): boolean {
  return patterns.some(
    (pattern) =>
      pattern === '*' || pattern === name || (pattern.startsWith('*.') && name.endsWith(pattern.slice(1))),
  )
}
