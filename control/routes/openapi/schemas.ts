// Every schema that the description of the API refers to, by its name there. They are those that check requests, and those that
// the types of answers are made from.

import * as admin from '../../../lib/api/admin.ts'
import * as diagnostics from '../../../lib/api/diagnostics.ts'
import * as domains from '../../../lib/api/domains.ts'
import * as events from '../../../lib/api/events.ts'
import * as images from '../../../lib/api/images.ts'
import * as shapes from '../../../lib/api/lifecycle.ts'
import * as operations from '../../../lib/api/operations.ts'
import * as pools from '../../../lib/api/pools.ts'
import * as shares from '../../../lib/api/shares.ts'
import * as snapshots from '../../../lib/api/snapshots.ts'
import * as templates from '../../../lib/api/templates.ts'
import * as volumes from '../../../lib/api/volumes.ts'

export const SCHEMAS = {
  CreateSandboxRequest: shapes.createRequestSchema,
  CreateSandboxResponse: shapes.createdSandboxSchema,
  Sandbox: shapes.sandboxSchema,
  ListSandboxesResponse: shapes.sandboxListSchema,
  PatchSandboxMetadataRequest: shapes.metadataPatchSchema,
  RenewSandboxExpirationRequest: shapes.renewRequestSchema,
  RenewSandboxExpirationResponse: shapes.renewedSchema,
  Endpoint: shapes.endpointSchema,
  CreateShareRequest: shares.shareRequestSchema,
  NewShare: shares.newShareSchema,
  ListSharesResponse: shares.shareListSchema,
  PutDomainRequest: domains.domainRequestSchema,
  Domain: domains.domainSchema,
  ListDomainsResponse: domains.domainListSchema,
  NetworkPolicy: shapes.networkPolicyRequestSchema,
  Diagnostics: diagnostics.diagnosticsSchema,
  Event: events.eventSchema,
  ListEventsResponse: events.eventListSchema,
  CreateSnapshotRequest: snapshots.snapshotRequestSchema,
  Snapshot: snapshots.snapshotSchema,
  ListSnapshotsResponse: snapshots.snapshotListSchema,
  CreateVolumeRequest: volumes.volumeRequestSchema,
  Volume: volumes.volumeSchema,
  ListVolumesResponse: volumes.volumeListSchema,
  ForkRequest: snapshots.forkRequestSchema,
  ForkResponse: snapshots.forkedSchema,
  CreatePoolRequest: pools.poolRequestSchema,
  UpdatePoolRequest: pools.poolUpdateSchema,
  Pool: pools.poolSchema,
  ListPoolsResponse: pools.poolListSchema,
  CreateTemplateRequest: templates.templateRequestSchema,
  Template: templates.templateSchema,
  ListTemplatesResponse: templates.templateListSchema,
  CreateKeyRequest: admin.keyRequestSchema,
  RotateKeyRequest: admin.rotateRequestSchema,
  NewKey: admin.newKeySchema,
  ListKeysResponse: admin.keyListSchema,
  Quota: admin.quotaSchema,
  Tenant: admin.tenantSchema,
  ListTenantsResponse: admin.tenantListSchema,
  ListAuditResponse: admin.auditListSchema,
  ListConnectionsResponse: admin.connectionListSchema,
  PullImageRequest: images.pullRequestSchema,
  Image: images.imageSchema,
  ImagePull: images.imagePullSchema,
  ListImagesResponse: images.imageListSchema,
  CollectImagesRequest: images.collectRequestSchema,
  CollectImagesResponse: images.collectedSchema,
  MetricsEvent: shapes.metricsEventSchema,
  Health: operations.healthSchema,
  Version: operations.versionSchema,
  Readiness: operations.readinessSchema,
  ErrorResponse: shapes.errorSchema,
}

export type SchemaName = keyof typeof SCHEMAS
