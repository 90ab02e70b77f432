// Other firewalls on the host. A packet must pass every table, so a foreign chain that drops by default (Docker's for what is
// forwarded, ufw's for that and for the questions to our name server) would cut all sandboxes off; for our interfaces it is told
// to accept, since our own table has judged the packet. The rules are marked, so that they are found again and removed. Docker
// may start after us: this is looked at again and again. Of the old iptables only that of IPv4 is looked at.

import type { Logger } from '../../lib/log.ts'
import type { RunProgram } from '../../lib/run-program.ts'
import type { Nft, NftObject } from './apply.ts'

export type ForeignFirewalls = {
  /** Makes way for the sandboxes; cheap when the way is clear. */
  open(): Promise<void>
  close(): Promise<void>
}

export type ForeignOptions = {
  nft: Pick<Nft, 'list' | 'apply'>
  run: RunProgram
  interfacePrefix: string
  /** Whether packets of IPv6 are to pass, too. */
  ipv6?: boolean
  /** Marks our rules. */
  comment: string
  log: Logger
  /** Names of the tables of the old iptables, one a line; undefined when the kernel has none. */
  readLegacyTables: () => string | undefined
}

type Chain = NonNullable<NftObject['chain']>

export function createForeignFirewalls(options: ForeignOptions): ForeignFirewalls {
  const { nft, interfacePrefix, ipv6 = false, comment, log } = options
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
      // Also of an earlier run that had IPv6.
      for (const family of ['ip', 'ip6'])
        for (const name of ['DOCKER-USER', 'FORWARD', 'INPUT']) {
          const handles = await ownRules({ family, table: 'filter', name })
          if (handles.length > 0)
            await nft.apply(
              handles.map((handle) => `delete rule ${family} filter ${name} handle ${handle}\n`).join(''),
            )
        }
      await legacy('close')
    },
  }

  async function open(): Promise<void> {
    const { targets, strangers } = chooseTargets((await nft.list('chains')) ?? [], { ipv6 })
    for (const target of targets) {
      if ((await ownRules(target)).length > 0) continue
      await nft.apply(formatInsert(target, interfacePrefix, comment))
      log.info('another firewall drops packets by default: those of sandboxes are let through to our rules', {
        chain: describe(target),
      })
    }
    for (const stranger of strangers) {
      const chain = describe(stranger)
      if (told.has(chain)) continue
      told.add(chain)
      log.warn('another firewall drops packets by default and may cut the sandboxes off', {
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

/** Where accepting rules are needed and heard, and the chains that must be opened by whoever owns them. Pure. */
export function chooseTargets(
  objects: readonly NftObject[],
  { ipv6 = false }: { ipv6?: boolean } = {},
): { targets: Chain[]; strangers: Chain[] } {
  const chains = objects.flatMap(({ chain }) => (chain ? [chain] : []))
  const families = ipv6 ? ['ip', 'ip6'] : ['ip']
  const isIptables = ({ family, table }: Chain) => families.includes(family) && table === 'filter'
  const closed = chains.filter(
    ({ hook, policy, family }) =>
      (hook === 'forward' || hook === 'input') && policy === 'drop' && (ipv6 || family !== 'ip6'),
  )
  const targets = families.flatMap((family) => {
    const find = (name: string, among: Chain[]) =>
      among.find((chain) => isIptables(chain) && chain.family === family && chain.name === name)
    // Docker keeps DOCKER-USER for others, and jumps to it first; it is there before FORWARD drops.
    return [find('DOCKER-USER', chains) ?? find('FORWARD', closed), find('INPUT', closed)]
  })
  return {
    targets: targets.filter((chain) => chain !== undefined),
    strangers: closed.filter((chain) => !isIptables(chain)),
  }
}

/** Rules at the head of a foreign chain: for packets from sandboxes, and to them where packets pass in both directions. Pure. */
export function formatInsert(
  { family, table, name }: Pick<Chain, 'family' | 'table' | 'name'>,
  interfacePrefix: string,
  comment: string,
): string {
  return (name === 'INPUT' ? ['iifname'] : ['iifname', 'oifname'])
    .map(
      (direction) =>
        `insert rule ${family} ${table} ${name} ${direction} "${interfacePrefix}*" counter accept comment "${comment}"\n`,
    )
    .join('')
}

const describe = ({ family, table, name }: Chain) => `${family} ${table} ${name}`
