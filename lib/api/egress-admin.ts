// What control asks of egress, on egress's administration socket:
//
//   GET    /network           -> EgressNetwork
//   GET    /sandboxes         -> { sandboxes: EgressSandbox[] }   (without tokens)
//   PUT    /sandboxes/{id}    EgressRegistration -> 204, once the rules are in the kernel; putting twice changes nothing
//   PUT    /sandboxes/{id}/authority -> EgressAuthority, made when there is none: before the sandbox is registered
//   DELETE /sandboxes/{id}    -> 204, also when there was none
//   GET    /healthz           -> 200 "ok"
//
// Egress keeps the registrations under its data directory, so that its own restart forgets none. The live policy is
// egress's from then on: clients change it at `/sandboxes/{id}/policy` on the policy socket (contract: egress.md 2).

import type { NetworkPolicy } from './network-policy.ts'

export type EgressNetwork = {
  /** The addresses of all sandboxes of this installation, such as `10.88.0.0/16`. */
  subnet: string
  /** The address that every sandbox has as its default route and its name server. */
  gateway: string
  /** The same of IPv6, where sandboxes have it: each has the address that its IPv4 one stands for (lib/address6.ts). */
  subnet6?: string
  gateway6?: string
  /** How the host's end of every sandbox's veth pair must begin (see lib/instance.ts). */
  interfacePrefix: string
}

export type EgressRegistration = {
  /** The sandbox's IPv4 address, inside the subnet. */
  address: string
  /** The host's end of the sandbox's veth pair. */
  interface: string
  /** The policy named at create; without one, the operator's default applies. */
  policy?: NetworkPolicy
  /** What clients must send as `OPENSANDBOX-EGRESS-AUTH` to read or change the policy. */
  token: string
  /** Whose it is, for the record of what was decided. */
  tenant?: string
  /** Its requests may be read, to put secrets into them: it trusts the authority that egress has for it. */
  credentialProxy?: boolean
}

/** The certificate, as PEM, of who signs what a sandbox is shown where its requests are read. */
export type EgressAuthority = { certificate: string }

export type EgressSandbox = { id: string; address: string; interface: string }
