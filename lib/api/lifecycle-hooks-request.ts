// What a create says of the hooks of its sandbox (contract: v1.1.md 1.3).

import { z } from 'zod'
import { messageOf } from '../errors.ts'
import { parseSchedule } from '../schedule.ts'
import { exactFields, integer, text } from './lifecycle-coerce.ts'
import { MAX_PERIODIC_HOOKS, MAX_PERIODIC_SECONDS, MAX_PRE_START_SECONDS } from './lifecycle-hooks.ts'
import { argument, isBlank, MAX_ARGUMENT_BYTES } from './lifecycle-parts.ts'

const hookCommand = z
  .array(argument)
  .min(1)
  .refine((words) => !isBlank(words[0]), 'must begin with a word that is not blank')
const hookSchedule = text.superRefine((value, context) => {
  try {
    parseSchedule(value)
  } catch (error) {
    context.addIssue({ code: 'custom', message: messageOf(error), input: undefined })
  }
})
export const lifecycleSchema = exactFields({
  preStart: exactFields({
    command: hookCommand,
    timeoutSeconds: integer(1, MAX_PRE_START_SECONDS).optional(),
  }).optional(),
  periodic: z
    .array(
      exactFields({
        name: text.max(256).refine((value) => !isBlank(value), 'must not be blank'),
        schedule: hookSchedule,
        command: hookCommand,
        timeoutSeconds: integer(1, MAX_PERIODIC_SECONDS).optional(),
      }),
    )
    .max(MAX_PERIODIC_HOOKS)
    .refine(
      (hooks) => new Set(hooks.map((hook) => hook.name.trim())).size === hooks.length,
      'must have unique names',
    )
    .optional(),
}).refine(
  (value) => Buffer.byteLength(JSON.stringify(value)) < MAX_ARGUMENT_BYTES,
  `must be shorter than ${MAX_ARGUMENT_BYTES} bytes as JSON`,
)
