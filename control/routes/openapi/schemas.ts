// Every schema that the description of the API refers to, by its name there. They are those that check requests, and those that
// the types of answers are made from.

import * as admin from '../../../lib/api/admin.ts'
import * as events from '../../../lib/api/events.ts'
import * as shapes from '../../../lib/api/lifecycle.ts'
import * as operations from '../../../lib/api/operations.ts'

export const SCHEMAS = {
  CreateSandboxRequest: shapes.createRequestSchema,
  CreateSandboxResponse: shapes.createdSandboxSchema,
  Sandbox: shapes.sandboxSchema,
  ListSandboxesResponse: shapes.sandboxListSchema,
  PatchSandboxMetadataRequest: shapes.metadataPatchSchema,
  RenewSandboxExpirationRequest: shapes.renewRequestSchema,
  RenewSandboxExpirationResponse: shapes.renewedSchema,
  Endpoint: shapes.endpointSchema,
  NetworkPolicy: shapes.networkPolicyRequestSchema,
  Diagnostics: shapes.diagnosticsSchema,
  Event: events.eventSchema,
  ListEventsResponse: events.eventListSchema,
  CreateSnapshotRequest: shapes.snapshotRequestSchema,
  CreatePoolRequest: shapes.poolRequestSchema,
  UpdatePoolRequest: shapes.poolUpdateSchema,
  Pool: shapes.poolSchema,
  ListPoolsResponse: shapes.poolListSchema,
  CreateTemplateRequest: shapes.templateRequestSchema,
  Template: shapes.templateSchema,
  ListTemplatesResponse: shapes.templateListSchema,
  CreateKeyRequest: admin.keyRequestSchema,
  RotateKeyRequest: admin.rotateRequestSchema,
  NewKey: admin.newKeySchema,
  ListKeysResponse: admin.keyListSchema,
  Quota: admin.quotaSchema,
  Tenant: admin.tenantSchema,
  ListTenantsResponse: admin.tenantListSchema,
  ListAuditResponse: admin.auditListSchema,
  MetricsEvent: shapes.metricsEventSchema,
  Health: operations.healthSchema,
  Version: operations.versionSchema,
  Readiness: operations.readinessSchema,
  ErrorResponse: shapes.errorSchema,
}

export type SchemaName = keyof typeof SCHEMAS
