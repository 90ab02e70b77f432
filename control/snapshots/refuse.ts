import type { ApiError } from '../../lib/errors.ts'
import { refusal } from '../errors.ts'

/** The one answer for a snapshot that does not exist, or is another tenant's. */
export function noSnapshot(): ApiError {
  return refusal('SNAPSHOT::NOT_FOUND', 'There is no snapshot with this id')
}

/** The answer to the deletion of one that something needs. */
export function inUse(): ApiError {
  return refusal(
    'SNAPSHOT::DELETE_CONFLICT',
    'Cannot delete a snapshot from which sandboxes were made that are still there: delete those first',
  )
}
