// Settings, each by its name, as the one typed value that the programs work with.

import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import type { Config, ConfigSources } from '../config.ts'
import { ruleSetsOf } from '../rule-sets.ts'
import { mergeQuotas, type QuotaLimits, withoutInfinite } from './access.ts'
import type { Settings } from './changes.ts'
import { dockerOf } from './docker.ts'
import { egressServicesOf } from './egress-services.ts'
import { frontOf } from './front.ts'
import { ingressOf } from './ingress.ts'
import { otelOf } from './otel.ts'
import { renewQueueOf } from './renew-queue.ts'
import type { SettingName } from './settings.ts'
import { tenantsOf } from './tenants.ts'

/** Where tenants are looked for when the environment names no other file (contract: v1.1.md 7.3). */
const TENANTS_FILE = '~/.opensandbox/tenants.toml'

export function assemble(settings: Settings, env: ConfigSources['env']): Config {
  const get = <T>(name: SettingName) => settings.get(name) as T
  const optional = <K extends string, T>(key: K, value: T | undefined | '') =>
    (value === undefined || value === '' ? {} : { [key]: value }) as { [P in K]?: T }
  const defaultQuota = get<QuotaLimits>('quotas.default')
  return {
    server: {
      host: get('server.host'),
      port: get('server.port'),
      ...optional('apiKey', get<string | undefined>('server.api_key')),
      ...optional('eip', get<string | undefined>('server.eip')),
      ...optional('maxSandboxTimeoutSeconds', get<number | undefined>('server.max_sandbox_timeout_seconds')),
      corsOrigins: get('server.cors_origins'),
      dataDir: resolve(expandHome(get('server.data_dir'))),
    },
    log: {
      level: get<string>('log.level').toLowerCase().replace('warning', 'warn') as Config['log']['level'],
      ...optional('accessFile', get<string | undefined>('log.access_file_path')),
    },
    runtime: {
      type: get('runtime.type'),
      ociRuntime: get('runtime.oci_runtime'),
      defaultImage: get('runtime.default_image'),
      images: get('runtime.images'),
      imagePullPolicy: get('runtime.image_pull_policy'),
      imageMaxUnpackedBytes: get('runtime.image_max_unpacked_bytes'),
      ...optional('imageMaxAgeHours', get<number | undefined>('runtime.image_max_age_hours')),
      ...optional('imageMaxBytes', get<number | undefined>('runtime.image_max_bytes')),
      insecureRegistries: get('runtime.insecure_registries'),
      internalRegistries: get('runtime.internal_registries'),
      subnet: get('runtime.subnet'),
      ...optional('subnet6', subnet6Of(get('runtime.ipv6'))),
      pidsLimit: get('runtime.pids_limit'),
      ...optional('defaultDiskBytes', get<number | undefined>('runtime.default_disk')),
      stopGraceSeconds: get('runtime.stop_grace_seconds'),
      pullTimeoutSeconds: get('runtime.pull_timeout_seconds'),
      allowIsolatedSessions: get('runtime.allow_isolated_sessions'),
    },
    docker: dockerOf(get),
    ingress: ingressOf(settings),
    front: frontOf(settings, (path) => resolve(expandHome(path))),
    egress: {
      defaultAction: get('egress.default_action'),
      alwaysDeny: get('egress.always_deny'),
      alwaysAllow: get('egress.always_allow'),
      ruleSets: ruleSetsOf(get('egress.rule_sets')),
      upstreamDns: get('egress.upstream_dns'),
      ...egressServicesOf(settings),
    },
    renewIntent: {
      enabled: get('renew_intent.enabled'),
      ...optional('minIntervalSeconds', get<number | undefined>('renew_intent.min_interval_seconds')),
    },
    storage: { allowedHostPaths: get('storage.allowed_host_paths') },
    retention: {
      eventsHours: get('retention.events_hours'),
      endedSandboxesHours: get('retention.ended_sandboxes_hours'),
      auditHours: get('retention.audit_hours'),
      idempotencyHours: get('retention.idempotency_hours'),
      maxMbOfTenant: get('retention.max_mb_per_tenant'),
    },
    auth: { keys: get('auth.keys'), allowNoKey: get('auth.allow_no_key') },
    quotas: {
      requestsPerMinute: get('quotas.requests_per_minute'),
      default: withoutInfinite(defaultQuota),
      tenants: new Map(
        get<[string, QuotaLimits][]>('quotas.tenants').map(([name, own]) => [
          name,
          mergeQuotas(defaultQuota, own),
        ]),
      ),
    },
    ...optional(
      'tenants',
      tenantsOf(settings, resolve(expandHome(env.SANDBOX_TENANTS_CONFIG_PATH || TENANTS_FILE))),
    ),
    metrics: { ...optional('token', get<string | undefined>('metrics.token')) },
    ...optional('otel', otelOf(settings)),
    ...optional('renewQueue', renewQueueOf(settings)),
  }
}

function subnet6Of(ipv6: boolean | string): string | undefined {
  if (ipv6 === false) return undefined
  return ipv6 === true ? 'auto' : ipv6
}

/** A path of which `~` is the home of whoever runs this. */
export function expandHome(path: string): string {
  return path === '~' || path.startsWith('~/') ? join(homedir(), path.slice(1)) : path
}
