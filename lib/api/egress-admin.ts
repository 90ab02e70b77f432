// What control asks of egress, on egress's administration socket:
//
//   GET    /network           -> EgressNetwork
//   GET    /sandboxes         -> { sandboxes: EgressSandbox[] }   (without tokens)
//   PUT    /sandboxes/{id}    EgressRegistration -> 204, once the rules are in the kernel; putting twice changes nothing
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
}

export type EgressSandbox = { id: string; address: string; interface: string }
