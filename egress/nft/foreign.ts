// Other firewalls on the host. A packet must pass every table, so a foreign forward chain that drops by default (Docker's, ufw's)
// would cut all sandboxes off; for our interfaces it is told to accept, since our own table has judged the packet. The rules are
// marked, so that they are found again and removed. Docker may start after us: this is looked at again and again.

import type { Logger } from '../../lib/log.ts'
import type { RunCommand } from '../run-command.ts'
import type { Nft, NftObject } from './apply.ts'

export type ForeignFirewalls = {
  /** Makes way for the sandboxes; cheap when the way is clear. */
  open(): Promise<void>
  close(): Promise<void>
}

export type ForeignOptions = {
  nft: Pick<Nft, 'list' | 'apply'>
  run: RunCommand
  interfacePrefix: string
  /** Marks our rules. */
  comment: string
  log: Logger
  /** Names of the tables of the old iptables, one a line; undefined when the kernel has none. */
  readLegacyTables: () => string | undefined
}

type Chain = NonNullable<NftObject['chain']>

export function createForeignFirewalls(options: ForeignOptions): ForeignFirewalls {
  const { nft, interfacePrefix, comment, log } = options
  const told = new Set<string>()

  let opening: Promise<void> | undefined

  return {
    open() {
      // A burst of creates asks once.
      opening ??= open().finally(() => {
        opening = undefined
      })
      return opening
    },
    async close() {
      for (const name of ['DOCKER-USER', 'FORWARD']) {
        const chain = { family: 'ip', table: 'filter', name }
        const handles = await ownRules(chain)
        if (handles.length > 0)
          await nft.apply(
            handles.map((handle) => `delete rule ip filter ${name} handle ${handle}\n`).join(''),
          )
      }
      await legacy('close')
    },
  }

  async function open(): Promise<void> {
    const chains = (await nft.list('chains')) ?? []
    const { target, strangers } = chooseTarget(chains)
    if (target && !(await ownRules(target)).length) {
      await nft.apply(formatInsert(target, interfacePrefix, comment))
      log.info('another firewall drops forwarded packets by default: sandboxes are let through', {
        chain: `${target.family} ${target.table} ${target.name}`,
      })
    }
    for (const { family, table, name } of strangers) {
      const chain = `${family} ${table} ${name}`
      if (told.has(chain)) continue
      told.add(chain)
      log.warn('another firewall drops forwarded packets by default and may cut the sandboxes off', {
        chain,
        allow: `iifname "${interfacePrefix}*" accept`,
      })
    }
    await legacy('open')
  }

  async function ownRules({
    family,
    table,
    name,
  }: Pick<Chain, 'family' | 'table' | 'name'>): Promise<number[]> {
    const listed = (await nft.list('chain', family, table, name)) ?? []
    return listed.flatMap(({ rule }) => (rule?.comment === comment ? [rule.handle] : []))
  }

  // The tables of iptables-legacy are invisible to nft; a machine has either kind in use.
  async function legacy(what: 'open' | 'close'): Promise<void> {
    if (!options.readLegacyTables()?.split('\n').includes('filter')) return
    const chain = (await iptables('-S', 'DOCKER-USER')) ? 'DOCKER-USER' : 'FORWARD'
    for (const direction of ['-i', '-o']) {
      const rule = [direction, `${interfacePrefix}+`, '-m', 'comment', '--comment', comment, '-j', 'ACCEPT']
      const there = await iptables('-C', chain, ...rule)
      if (what === 'open' && !there) await iptables('-I', chain, ...rule)
      if (what === 'close' && there) await iptables('-D', chain, ...rule)
    }
  }

  async function iptables(...args: string[]): Promise<boolean> {
    const { code } = await options.run('iptables-legacy', ['-w', '2', ...args])
    return code === 0
  }
}

/** Where an accepting rule is needed and heard, and the chains that must be opened by whoever owns them. Pure. */
export function chooseTarget(objects: readonly NftObject[]): { target?: Chain; strangers: Chain[] } {
  const chains = objects.flatMap(({ chain }) => (chain ? [chain] : []))
  const closed = chains.filter(({ hook, policy }) => hook === 'forward' && policy === 'drop')
  const isIptables = ({ family, table }: Chain) => family === 'ip' && table === 'filter'
  const user = chains.find((chain) => isIptables(chain) && chain.name === 'DOCKER-USER')
  const forward = closed.find((chain) => isIptables(chain) && chain.name === 'FORWARD')
  const target = user ?? forward
  return {
    ...(target && { target }),
    strangers: closed.filter(
      ({ family, table }) => family !== 'ip6' && !(family === 'ip' && table === 'filter'),
    ),
  }
}

/** Rules at the head of a foreign chain, both ways. Pure. */
export function formatInsert(
  { family, table, name }: Pick<Chain, 'family' | 'table' | 'name'>,
  interfacePrefix: string,
  comment: string,
): string {
  return ['iifname', 'oifname']
    .map(
      (direction) =>
        `insert rule ${family} ${table} ${name} ${direction} "${interfacePrefix}*" counter accept comment "${comment}"\n`,
    )
    .join('')
}
