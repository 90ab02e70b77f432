// The errors that the lifecycle API answers, in one table (contract: lifecycle.md 2.5, v1.1.md). The codes keep the contract's
// names, DOCKER:: ones too, whatever runtime is behind: clients compare them.

import { ApiError, type ApiErrorOptions } from '../lib/errors.ts'
import { RuntimeError } from './runtime/runtime.ts'
import { type StoreFailure, storeFailureOf } from './store/failure.ts'

const STATUS = {
  MISSING_API_KEY: 401,
  INVALID_API_KEY: 401,
  MISSING_OR_INVALID_SECURE_ACCESS: 401,
  'GENERAL::FORBIDDEN': 403,
  'GENERAL::ORIGIN_NOT_ALLOWED': 403,
  'GENERAL::HOST_NOT_ALLOWED': 403,
  'GENERAL::INVALID_REQUEST': 422,
  'GENERAL::BAD_REQUEST': 400,
  'GENERAL::NOT_FOUND': 404,
  'GENERAL::CONFLICT': 409,
  'GENERAL::IDEMPOTENCY_KEY_REUSED': 422,
  'GENERAL::TOO_MANY_REQUESTS': 429,
  'KUBERNETES::QUOTA_EXCEEDED': 403,
  'GENERAL::METHOD_NOT_ALLOWED': 405,
  'GENERAL::PAYLOAD_TOO_LARGE': 413,
  'GENERAL::REQUEST_TIMEOUT': 408,
  'GENERAL::UNKNOWN_ERROR': 500,
  'GENERAL::STOPPING': 503,
  'DOCKER::UNAVAILABLE': 503,
  TENANT_PROVIDER_UNAVAILABLE: 503,
  'GENERAL::NO_SPACE': 503,
  'GENERAL::DATABASE_BUSY': 503,
  'GENERAL::DATABASE_READ_ONLY': 503,
  'GENERAL::DATABASE_UNAVAILABLE': 503,
  'GENERAL::DATABASE_DAMAGED': 500,
  INVALID_METADATA_FORMAT: 400,
  INVALID_METADATA_LABEL: 400,
  'SANDBOX::INVALID_METADATA_LABEL': 400,
  'SANDBOX::INVALID_PARAMETER': 400,
  'SANDBOX::API_NOT_SUPPORTED': 400,
  DIAGNOSTICS_SCOPE_UNSUPPORTED: 400,
  DIAGNOSTICS_NOT_IMPLEMENTED: 501,
  'DOCKER::SANDBOX_NOT_FOUND': 404,
  'DOCKER::SANDBOX_IMAGE_PULL_FAILED': 500,
  'DOCKER::SANDBOX_START_FAILED': 500,
  'DOCKER::INVALID_ENTRYPOINT': 400,
  'DOCKER::SANDBOX_DELETE_FAILED': 500,
  'DOCKER::SANDBOX_NOT_RUNNING': 409,
  'DOCKER::SANDBOX_PAUSE_FAILED': 500,
  'DOCKER::SANDBOX_NOT_PAUSED': 409,
  'DOCKER::SANDBOX_RESUME_FAILED': 500,
  'DOCKER::SANDBOX_DELETED': 409,
  'DOCKER::INVALID_EXPIRATION': 400,
  'DOCKER::INVALID_PORT': 400,
  'DOCKER::NETWORK_MODE_ENDPOINT_UNAVAILABLE': 500,
  'SNAPSHOT::NOT_FOUND': 404,
  'SNAPSHOT::INVALID_SOURCE_STATE': 409,
  'SNAPSHOT::NOT_IMPLEMENTED': 501,
  'SNAPSHOT::NOT_READY': 409,
  'SNAPSHOT::INVALID_STATE': 409,
  'SNAPSHOT::DELETE_CONFLICT': 409,
  'SNAPSHOT::UNSUPPORTED_RUNTIME': 409,
  'SNAPSHOT::RUNTIME_CREATE_FAILED': 500,
  'DOCKER::SNAPSHOT_IMAGE_REMOVE_FAILED': 500,
  'FSB::TEMPLATE_NOT_FOUND': 404,
  'KUBERNETES::POOL_NOT_FOUND': 404,
  'KUBERNETES::POOL_ALREADY_EXISTS': 409,
  'KUBERNETES::POOL_CAPACITY_EXHAUSTED': 429,
  'VOLUME::DUPLICATE_NAME': 400,
  'VOLUME::INVALID_MOUNT_PATH': 400,
  'VOLUME::INVALID_SUB_PATH': 400,
  'VOLUME::INVALID_HOST_PATH': 400,
  'VOLUME::HOST_PATH_NOT_ALLOWED': 400,
  'VOLUME::UNSUPPORTED_BACKEND': 400,
  'VOLUME::PVC_NOT_FOUND': 400,
  'VOLUME::NOT_FOUND': 404,
  'VOLUME::ALREADY_EXISTS': 409,
  'VOLUME::IN_USE': 409,
  'VOLUME::CREATE_FAILED': 500,
  'VOLUME::HOST_PATH_CREATE_FAILED': 500,
  'EGRESS::POLICY_UNAVAILABLE': 409,
  BACKEND_CONNECTION_FAILED: 502,
  BACKEND_RESPONSE_FAILED: 502,
  BACKEND_TIMEOUT: 504,
} as const

export type ErrorCode = keyof typeof STATUS

/** When nothing else is known: a program that stops is back after so many seconds, and so is what is briefly too much. */
const RETRY_AFTER_SECONDS = '2'

/**
 * An answer with a code of the table; a status other than the table's can be named where the contract has two. Those that
 * another try may not meet say when to try.
 */
export function refusal(
  code: ErrorCode,
  message: string,
  { status = STATUS[code], headers, ...options }: ApiErrorOptions & { status?: number } = {},
): ApiError {
  const isPassing = status === 429 || status === 503
  return new ApiError(status, code, message, {
    ...options,
    headers: { ...(isPassing && { 'Retry-After': RETRY_AFTER_SECONDS }), ...headers },
  })
}

/** The one answer for a sandbox that does not exist, was deleted or has expired. */
export function notFound(): ApiError {
  return refusal('DOCKER::SANDBOX_NOT_FOUND', 'There is no sandbox with this id')
}

// What goes by itself, or by an operator's hand, is worth another try in so many seconds.
const STORE_REFUSALS: Record<StoreFailure, { code: ErrorCode; message: string; retryAfter?: number }> = {
  full: {
    code: 'GENERAL::NO_SPACE',
    message: 'There is no space left on the disk of the data directory',
    retryAfter: 10,
  },
  busy: {
    code: 'GENERAL::DATABASE_BUSY',
    message: 'The database is in use by something else',
    retryAfter: 1,
  },
  'read-only': {
    code: 'GENERAL::DATABASE_READ_ONLY',
    message: 'The data directory is read-only',
    retryAfter: 30,
  },
  unavailable: {
    code: 'GENERAL::DATABASE_UNAVAILABLE',
    message: 'The data directory cannot be read or written',
    retryAfter: 10,
  },
  damaged: {
    code: 'GENERAL::DATABASE_DAMAGED',
    message: 'The database is damaged; the operator has to restore it',
  },
}

/** What it means for a caller that the database, or the disk, failed; undefined when that is not what led to the error. */
export function refusalOfStore(error: unknown): ApiError | undefined {
  const failure = storeFailureOf(error)
  if (!failure) return undefined
  const { code, message, retryAfter } = STORE_REFUSALS[failure]
  return refusal(code, message, {
    cause: error,
    ...(retryAfter !== undefined && { headers: { 'Retry-After': String(retryAfter) } }),
  })
}

/** What a failed start means for the caller, and what stands in the row of a sandbox that was already acknowledged. */
export function refusalOfStart(error: unknown): ApiError {
  if (error instanceof ApiError) return error
  const failedStore = refusalOfStore(error)
  if (failedStore) return failedStore
  if (!(error instanceof RuntimeError))
    return refusal('DOCKER::SANDBOX_START_FAILED', 'The sandbox could not be started', { cause: error })
  const { message } = error
  switch (error.failure) {
    case 'image_not_found':
    case 'image_denied':
    case 'image_too_large':
      return refusal('DOCKER::SANDBOX_IMAGE_PULL_FAILED', message, { status: 400, cause: error })
    case 'registry_failed':
      return refusal('DOCKER::SANDBOX_IMAGE_PULL_FAILED', message, { status: 502, cause: error })
    case 'image_pull_failed':
      return refusal('DOCKER::SANDBOX_IMAGE_PULL_FAILED', message, { cause: error })
    case 'platform_mismatch':
      return refusal('SANDBOX::INVALID_PARAMETER', message, { cause: error })
    case 'unsupported':
      return refusal('SANDBOX::API_NOT_SUPPORTED', message, { cause: error })
    case 'unavailable':
      return refusal('DOCKER::UNAVAILABLE', message, { cause: error })
    case 'entrypoint_failed':
      return refusal('DOCKER::INVALID_ENTRYPOINT', message, { cause: error })
    case 'host_path_refused':
      return refusal('VOLUME::HOST_PATH_NOT_ALLOWED', message, { cause: error })
    case 'sub_path_refused':
      return refusal('VOLUME::INVALID_SUB_PATH', message, { cause: error })
    // As with an image that is not there: what the caller named is at fault, and not the server.
    case 'hook_failed':
      return refusal('DOCKER::SANDBOX_START_FAILED', message, { status: 400, cause: error })
    default:
      return refusal('DOCKER::SANDBOX_START_FAILED', message, { cause: error })
  }
}
