// Every setting that there is: its name, what it may be, its default, and how else than in the file it can be given.

import { PULL_POLICIES } from '../api/images.ts'
import { WAKE_MODES } from '../wake-mode.ts'
import { keyList, quota, quotaTable } from './access.ts'
import {
  bytes,
  type Check,
  headerName,
  headerValue,
  httpUrl,
  integer,
  keyOrNothing,
  nameServers,
  oneOf,
  origins,
  publicAddress,
  secret,
  subnet,
  text,
  texts,
  textTable,
  yesOrNo,
} from './checks.ts'
import { activeKey, signingKeys } from './ingress.ts'
import { headerTable } from './otel.ts'

const LOG_LEVEL = oneOf('debug', 'info', 'warn', 'error', 'DEBUG', 'INFO', 'WARNING', 'WARN', 'ERROR')

// One line per setting: name, what is allowed, default.
export const SETTINGS = {
  'server.host': [text, '127.0.0.1'],
  'server.port': [integer(1, 65535), 8080],
  'server.api_key': [secret(keyOrNothing), undefined],
  'server.eip': [publicAddress, undefined],
  'server.max_sandbox_timeout_seconds': [integer(60, 2 ** 31), undefined],
  'server.cors_origins': [origins, ['*']],
  'server.data_dir': [text, '/var/lib/opensandbox'],
  'log.level': [LOG_LEVEL, 'info'],
  'log.access_file_path': [text, undefined],
  'runtime.type': [oneOf('local', 'docker', 'kubernetes'), 'local'],
  'runtime.oci_runtime': [text, 'runc'],
  'runtime.default_image': [text, 'host'],
  'runtime.images': [textTable, {}],
  'runtime.insecure_registries': [texts, []],
  'runtime.subnet': [subnet, 'auto'],
  'runtime.pids_limit': [integer(16, 4_194_304), 4096],
  'runtime.stop_grace_seconds': [integer(0, 600), 10],
  'runtime.image_pull_policy': [oneOf(...PULL_POLICIES), 'IfNotPresent'],
  'runtime.image_max_unpacked_bytes': [bytes, 64 * 2 ** 30],
  'runtime.image_max_age_hours': [integer(1, 87_600), undefined],
  'runtime.image_max_bytes': [bytes, undefined],
  'runtime.pull_timeout_seconds': [integer(1, 86_400), 600],
  'runtime.allow_isolated_sessions': [yesOrNo, false],
  'ingress.domain': [text, 'localhost'],
  'ingress.mode': [oneOf('direct', 'gateway'), 'direct'],
  'ingress.gateway.address': [text, undefined],
  'ingress.gateway.route.mode': [oneOf('wildcard', 'header', 'uri'), undefined],
  'ingress.secure_access.active_key': [activeKey, undefined],
  'ingress.secure_access.keys': [signingKeys, []],
  'ingress.wake_on_request': [oneOf(...WAKE_MODES), 'idle'],
  'ingress.wake_timeout_seconds': [integer(1, 300), 20],
  'egress.default_action': [oneOf('allow', 'deny'), 'allow'],
  'egress.upstream_dns': [nameServers, []],
  'storage.allowed_host_paths': [texts, []],
  'retention.events_hours': [integer(1, 87_600), 168],
  'retention.ended_sandboxes_hours': [integer(1, 87_600), 168],
  'retention.audit_hours': [integer(1, 87_600), 2160],
  'retention.idempotency_hours': [integer(1, 720), 24],
  'auth.keys': [keyList, []],
  'auth.allow_no_key': [yesOrNo, false],
  'quotas.default': [quota, {}],
  'quotas.tenants': [quotaTable, []],
  'tenants.provider': [oneOf('file', 'http'), undefined],
  'tenants.endpoint': [httpUrl, undefined],
  'tenants.auth_header': [headerName, undefined],
  'tenants.auth_token': [secret(headerValue), undefined],
  'tenants.max_stale_seconds': [integer(0, 604_800), 300],
  'metrics.token': [secret(headerValue), undefined],
  'otel.enabled': [yesOrNo, false],
  'otel.endpoint': [httpUrl, undefined],
  'otel.service_name': [text, 'opensandbox-server'],
  'otel.export_interval_millis': [integer(1000, 86_400_000), 60_000],
  'otel.headers': [headerTable, {}],
} satisfies Record<string, [Check, unknown]>

// Keys of the contract that have no meaning here: accepted, with one warning line for all of them.
export const WITHOUT_MEANING = [
  'server.timeout_keep_alive',
  'server.limit_concurrency',
  'server.backlog',
  'server.thread_pool_size',
  'server.loop',
  'server.http',
  'log.file_enabled',
  'log.file_path',
  'log.file_max_bytes',
  'log.file_backup_count',
  'runtime.execd_image',
  'docker.*',
  'egress.image',
  'egress.mode',
  'egress.disable_ipv6',
  'storage.volume_default_size',
  'storage.ossfs_mount_root',
  'store.*',
  'secure_runtime.*',
  'renew_intent.*',
  'kubernetes.*',
  'agent_sandbox.*',
] // prettier-ignore

export const ENVIRONMENT: Record<string, SettingName> = {
  OPENSANDBOX_SERVER_API_KEY: 'server.api_key',
  OPENSANDBOX_HOST: 'server.host',
  OPENSANDBOX_PORT: 'server.port',
  OPENSANDBOX_DATA_DIR: 'server.data_dir',
  OPENSANDBOX_RUNTIME: 'runtime.type',
  OPENSANDBOX_LOG_LEVEL: 'log.level',
  OPENSANDBOX_METRICS_TOKEN: 'metrics.token',
  OPENSANDBOX_SECURE_ACCESS_KEYS: 'ingress.secure_access.keys',
  OPENSANDBOX_SECURE_ACCESS_ACTIVE_KEY: 'ingress.secure_access.active_key',
}

export const FLAGS: Record<string, SettingName> = {
  '--host': 'server.host',
  '--port': 'server.port',
  '--data-dir': 'server.data_dir',
  '--runtime': 'runtime.type',
}

export type SettingName = keyof typeof SETTINGS
