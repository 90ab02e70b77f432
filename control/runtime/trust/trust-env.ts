// What the programs of a sandbox are told by variables, so that they trust what reads their requests: each has a name of its own for it.

import { GUEST_DIR } from '../../../lib/api/guest.ts'

/** Mounted read-only into every sandbox whose requests are read; the names directly below GUEST_DIR lead into it (contract: egress.md 5). */
export const TRUST_DIR = `${GUEST_DIR}/trust`
/** The authority alone, and after all others. */
export const CA_FILE = 'mitmproxy-ca-cert.pem'
export const MERGED_FILE = 'merged-ca-certificates.pem'
/** For Java, which reads no PEM. */
export const KEYSTORE_FILE = 'truststore.jks'
export const KEYSTORE_PASSWORD = 'changeit'

const CA = `${GUEST_DIR}/${CA_FILE}`
const MERGED = `${GUEST_DIR}/${MERGED_FILE}`
const FOR_JAVA = [
  `-Djavax.net.ssl.trustStore=${TRUST_DIR}/${KEYSTORE_FILE}`,
  '-Djavax.net.ssl.trustStoreType=JKS',
  `-Djavax.net.ssl.trustStorePassword=${KEYSTORE_PASSWORD}`,
].join(' ')

/** To be set above what image and caller say: with theirs, programs would trust only others (contract: egress.md 5). */
export function trustEnv(given: Record<string, string>): Record<string, string> {
  const javaOptions = given.JAVA_TOOL_OPTIONS
  return {
    OPENSANDBOX_EGRESS_MITMPROXY_TRANSPARENT: 'true',
    // Those that add to what a program trusts anyway.
    NODE_EXTRA_CA_CERTS: CA,
    DENO_CERT: CA,
    // Those that stand for all of it.
    SSL_CERT_FILE: MERGED,
    REQUESTS_CA_BUNDLE: MERGED,
    CURL_CA_BUNDLE: MERGED,
    GIT_SSL_CAINFO: MERGED,
    PIP_CERT: MERGED,
    CARGO_HTTP_CAINFO: MERGED,
    AWS_CA_BUNDLE: MERGED,
    // It holds options of every kind; of two, the last one counts.
    JAVA_TOOL_OPTIONS: javaOptions ? `${javaOptions} ${FOR_JAVA}` : FOR_JAVA,
  }
}
