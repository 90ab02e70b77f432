// The sandboxes that egress knows: who has which address, under which policy, and what the kernel was told about it.

import { address6Of } from '../lib/address6.ts'
import type { EgressRegistration, EgressSandbox } from '../lib/api/egress-admin.ts'
import type { NetworkPolicy } from '../lib/api/network-policy.ts'
import type { Endpoint } from '../lib/api/rule-scope.ts'
import { messageOf } from '../lib/errors.ts'
import type { Logger } from '../lib/log.ts'
import { type RuleSets, ruleSetsOf } from '../lib/rule-sets.ts'
import type { Flows } from './connections/flows.ts'
import { enforce } from './enforce.ts'
import { learn } from './learn.ts'
import { Learned } from './learned.ts'
import type { Nft } from './nft/apply.ts'
import { passChain, replyChain } from './nft/policy-rules.ts'
import {
  type BaseRules,
  formatAdd,
  formatClosed,
  formatRemove,
  formatTable,
  parseLearnedElements,
  parseLearnedSet,
  type SandboxRules,
} from './nft/rules.ts'
import { Operator, type OperatorRules } from './operator.ts'
import { type CompiledPolicy, type Floor, NO_FLOOR } from './policy/compile.ts'
import { type Decision, decideName } from './policy/decide.ts'
import type { DecisionRecord } from './record.ts'
import type { SandboxFiles, StoredSandbox } from './sandbox-files.ts'
import { notFound, type Sandbox, SandboxTable } from './sandbox-table.ts'
import { Turns } from './turns.ts'

/** How the kernel's table is made: what is in it beside the policies depends on where packets of sandboxes are seen. */
export type TableForm = {
  formatTable: typeof formatTable
  formatAdd: typeof formatAdd
  formatRemove: typeof formatRemove
  formatClosed: typeof formatClosed
}

export type SandboxesOptions = {
  base: BaseRules
  /** By default, sandboxes are behind interfaces of their own. */
  form?: TableForm
  /** The one sandbox that everybody is, where no address and no interface tells who it is. */
  only?: string
  nft: Nft
  files: SandboxFiles
  /** For sandboxes without a policy of their own. */
  defaultPolicy: NetworkPolicy
  floor?: Floor
  sets?: RuleSets
  /** What is being relayed for them. */
  flows: Pick<Flows, 'retain' | 'endAll'>
  record: Pick<DecisionRecord, 'remove'>
  /** Addresses that the operator knows of names (learned.ts). */
  pins?: ReadonlyMap<string, string>
  /** Where requests are read, of sandboxes that trust who reads them. */
  readPorts?: readonly number[]
  /** Throws when something else of the sandbox does not go with a policy that a client wants. */
  requireKept?: (id: string, policy: CompiledPolicy) => void
  log: Logger
  now?: () => number
}

const BEHIND_INTERFACES: TableForm = { formatTable, formatAdd, formatRemove, formatClosed }

export class Sandboxes {
  readonly #options: SandboxesOptions
  readonly #form: TableForm
  readonly #now: () => number
  readonly #table = new SandboxTable()
  readonly #turns = new Turns()
  readonly #operator: Operator

  constructor(options: SandboxesOptions) {
    this.#options = options
    this.#form = options.form ?? BEHIND_INTERFACES
    const { defaultPolicy, floor = NO_FLOOR, sets = ruleSetsOf() } = options
    this.#operator = new Operator({ defaultPolicy, floor, sets }, options.log)
    this.#now = options.now ?? Date.now
  }

  /** What rules may name as `set:…`. */
  get sets(): RuleSets {
    return this.#operator.rules.sets
  }

  get size(): number {
    return this.#table.size
  }

  /** Of all sandboxes: the rules of their policies, and the addresses that names have opened for them. */
  get figures(): { rules: number; learned: number } {
    return this.#table.figures
  }

  get(id: string): Sandbox | undefined {
    return this.#table.get(id)
  }

  /** The sandbox behind a source address. nft has made sure that nobody else sends from it. */
  byAddress(address: string): Sandbox | undefined {
    const { only } = this.#options
    return only === undefined ? this.#table.byAddress(address) : this.#table.get(only)
  }

  byInterface(name: string): Sandbox | undefined {
    const { only } = this.#options
    return only === undefined ? this.#table.byInterface(name) : this.#table.get(only)
  }

  list(): EgressSandbox[] {
    return this.#table.all().map(({ id, address, interface: name }) => ({ id, address, interface: name }))
  }

  /** Reads the registrations and makes the kernel's table the one that follows from them. */
  async load(): Promise<void> {
    const { nft, base, files } = this.#options
    const found = (await nft.list('table', 'inet', base.table)) ?? []
    const chains = new Set(found.map(({ chain }) => chain?.name))
    for (const stored of files.load()) {
      const { id } = stored
      const isThere = chains.has(replyChain(id))
      const hasUnmarked = isThere && !chains.has(passChain(id))
      const hasOtherMarks = isThere && !chains.has('begin')
      this.#table.put({
        ...this.#create(stored),
        ...(hasUnmarked && { hasUnmarked }),
        ...(hasOtherMarks && { hasOtherMarks }),
      })
    }
    for (const { set } of found) {
      const sandbox = set && this.#table.get(parseLearnedSet(set.name) ?? '')
      if (sandbox) sandbox.learned.adopt(parseLearnedElements(set?.elem ?? []), this.#now())
    }
    await nft.apply(this.#form.formatTable(base, this.#rulesOfAll()))
  }

  /** Lets nothing through until the table has been built again. */
  close(): Promise<void> {
    const { nft, base } = this.#options
    return nft.apply(this.#form.formatClosed(base))
  }

  /** Builds the whole table again, for when something else has changed it. */
  repair(): Promise<void> {
    const { nft, base } = this.#options
    return this.#turns.takeAll(() => nft.apply(this.#form.formatTable(base, this.#rulesOfAll())))
  }

  /** Resolves once the rules are in the kernel. A sandbox that is there keeps the policy that it has by now. */
  register(id: string, registration: EgressRegistration): Promise<void> {
    return this.#turns.take(id, async () => {
      const known = this.#table.get(id)
      this.#table.refuseTaken(id, registration)
      const { address, interface: name, token, tenant } = registration
      const stored: StoredSandbox = {
        id,
        address,
        interface: name,
        token,
        ...(tenant !== undefined && { tenant }),
        ...(registration.credentialProxy && { credentialProxy: true }),
        ...policyOf(known, registration),
      }
      const sandbox = this.#create(stored, known?.learned)
      const moved = known && (known.address !== address || known.interface !== name)
      // Taken before the kernel has it, so that two registrations at once cannot both get an address.
      if (!known) this.#table.reserve(sandbox)
      const file = this.#options.files.prepare(stored)
      try {
        await this.#options.nft.apply(
          (moved ? this.#form.formatRemove(this.#options.base, known) : '') +
            this.#form.formatAdd(this.#options.base, this.#rulesOf(sandbox)),
        )
        file.commit()
      } catch (error) {
        file.discard()
        if (!known) this.#table.drop(sandbox)
        throw error
      }
      if (known) this.#table.drop(known)
      this.#table.put(sandbox)
    })
  }

  /** Resolves once nothing of the sandbox is left; also when there was nothing. */
  async remove(id: string): Promise<void> {
    const isClean = await this.#turns.take(id, async () => {
      const sandbox = this.#table.get(id)
      this.#options.files.remove(id)
      if (!sandbox) return true
      try {
        await this.#options.nft.apply(this.#form.formatRemove(this.#options.base, sandbox))
        return true
      } catch (error) {
        this.#options.log.warn('cannot remove the rules of a sandbox: building all anew', {
          sandbox: id,
          error: messageOf(error),
        })
        return false
      } finally {
        this.#table.drop(sandbox)
        this.#options.flows.endAll(id)
        this.#options.record.remove(id)
      }
    })
    // Something else has been at the table, which is built once more without this sandbox.
    if (!isClean) await this.repair()
  }

  /**
   * Puts the policy in force that `decide` makes of the present one, in one transaction, and remembers it. Nothing changes when
   * `decide` throws or returns undefined, or when the kernel refuses.
   */
  changePolicy(
    id: string,
    decide: (policy: NetworkPolicy) => NetworkPolicy | undefined,
  ): Promise<NetworkPolicy | undefined> {
    return this.#turns.take(id, async () => {
      const sandbox = this.#table.get(id)
      if (!sandbox) throw notFound(id)
      const next = decide(sandbox.policy.policy)
      if (!next) return undefined
      this.#options.requireKept?.(id, this.#operator.compile(next, id))
      await this.#enforce(sandbox, next, { isDefault: false })
      return next
    })
  }

  /** Does something with a sandbox while nothing about it changes. Throws 404 when it is not there. */
  inTurn<T>(id: string, work: (sandbox: Sandbox) => T): Promise<T> {
    return this.#turns.take(id, async () => {
      const sandbox = this.#table.get(id)
      if (!sandbox) throw notFound(id)
      return work(sandbox)
    })
  }

  /**
   * Puts in force what the operator has changed: the policy of all sandboxes that have none of their own, what lies below all, and
   * what is in the sets that rules name.
   */
  async changeOperators(operator: OperatorRules): Promise<void> {
    const isConcerned = this.#operator.change(operator)
    // One that is being registered has perhaps been judged by the old ones.
    for (const id of new Set([...this.#table.ids(), ...this.#turns.ids()])) {
      try {
        await this.#turns.take(id, async () => {
          const sandbox = this.#table.get(id)
          if (!sandbox || !isConcerned(sandbox)) return
          const { isDefault } = sandbox
          await this.#enforce(sandbox, isDefault ? operator.defaultPolicy : sandbox.policy.policy, {
            isDefault,
          })
        })
      } catch (error) {
        this.#options.log.error('cannot put what the operator has changed in force', {
          sandbox: id,
          error: messageOf(error),
        })
      }
    }
  }

  /** What the sandbox's policy says about a name, and the one that is coming; without an endpoint, whether any is open by the name. */
  decide(sandbox: Sandbox, name: string, endpoint?: Endpoint): Decision {
    const decision = decideName(sandbox.policy, name, endpoint)
    if (decision.action === 'deny' || !sandbox.coming) return decision
    return decideName(sandbox.coming, name, endpoint)
  }

  /**
   * Opens the addresses of an allowed name, which was an alias for others or was not; resolves to true once the kernel lets them through,
   * so that the answer may be sent. False: the name or the sandbox has gone meanwhile, or the kernel refused.
   */
  async learn(
    { id }: Pick<Sandbox, 'id'>,
    name: string,
    addresses: readonly string[],
    ttl: number,
    aliases: readonly string[] = [],
  ): Promise<boolean> {
    // While the answer was awaited, the policy may have changed.
    const sandbox = this.#table.get(id)
    if (!sandbox || this.decide(sandbox, name).action === 'deny') return false
    const { nft, base, log } = this.#options
    return learn({ nft, base, log, now: this.#now }, sandbox, { name, addresses, ttl, aliases })
  }

  #enforce(sandbox: Sandbox, next: NetworkPolicy, { isDefault }: { isDefault: boolean }): Promise<void> {
    const policy = this.#operator.compile(next, sandbox.id)
    const replace = (before: Sandbox, after: Sandbox) => {
      this.#table.drop(before)
      this.#table.put(after)
    }
    const rulesOf = (changed: Sandbox) => this.#rulesOf(changed)
    return enforce({ ...this.#options, rulesOf, replace }, sandbox, { policy, isDefault })
  }

  #create({ policy, ...stored }: StoredSandbox, learned = new Learned(this.#options.pins)): Sandbox {
    const { ipv6 } = this.#options.base
    return {
      ...stored,
      ...(ipv6 && { address6: address6Of(ipv6.subnet, stored.address) }),
      isDefault: policy === undefined,
      policy: this.#operator.compile(policy, stored.id),
      coming: undefined,
      learned,
    }
  }

  #rulesOf(sandbox: Sandbox): SandboxRules {
    const { readPorts } = this.#options
    return {
      ...sandbox,
      learned: sandbox.learned.elements(this.#now()),
      ...(sandbox.credentialProxy && readPorts && { readPorts }),
    }
  }

  #rulesOfAll(): SandboxRules[] {
    return this.#table.all().map((sandbox) => this.#rulesOf(sandbox))
  }
}

function policyOf(known: Sandbox | undefined, { policy }: EgressRegistration): { policy?: NetworkPolicy } {
  if (known) return known.isDefault ? {} : { policy: known.policy.policy }
  return policy ? { policy } : {}
}
