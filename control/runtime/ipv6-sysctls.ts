// What the network of a sandbox is told of IPv6: nothing at all, or that nobody but the host gives it addresses and routes.

export function ipv6Sysctls(isOpen: boolean): Record<string, string> {
  const of = (setting: string, value: string) => ({
    [`net.ipv6.conf.all.${setting}`]: value,
    [`net.ipv6.conf.default.${setting}`]: value,
  })
  if (!isOpen) return of('disable_ipv6', '1')
  return { ...of('disable_ipv6', '0'), ...of('accept_ra', '0'), ...of('autoconf', '0') }
}
