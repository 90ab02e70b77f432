// What a create says of a volume (contract: lifecycle.md 2). Which of them this runtime has is control's to judge.

import { z } from 'zod'
import { bool, fields, text } from './lifecycle-coerce.ts'
import { label } from './lifecycle-parts.ts'

export const volumeSchema = fields({
  name: label.max(63),
  mountPath: text.max(4096).startsWith('/', 'must begin with "/"'),
  readOnly: bool.optional(),
  subPath: text.max(4096).optional(),
  host: fields({ path: text.max(4096).regex(/^(\/|[A-Za-z]:[\\/])/, 'must be an absolute path') }).optional(),
  pvc: fields({
    claimName: label.max(253),
    createIfNotExists: bool.optional(),
    deleteOnSandboxTermination: bool.optional(),
    storageClass: text.optional(),
    storage: z
      .string()
      .regex(/^\d+(\.\d+)?(Ki|Mi|Gi|Ti|Pi|Ei)?$/, 'must be an amount such as "10Gi"')
      .optional(),
    accessModes: z.array(text).optional(),
  }).optional(),
  ossfs: fields({
    bucket: text.min(3).max(63),
    endpoint: text.min(1),
    version: z.enum(['1.0', '2.0']).optional(),
    options: z.union([z.array(text), z.record(text, text)]).optional(),
    accessKeyId: text.min(1),
    accessKeySecret: text.min(1),
  }).optional(),
})
export type VolumeRequest = z.output<typeof volumeSchema>
