// The name under which a client stores what it downloads (contract: execd.md 6.3).

/** The header Content-Disposition for a file of this name. */
export function disposition(name: string): string {
  if (/^[\x20-\x7e]*$/.test(name)) return `attachment; filename="${name.replace(/(["\\])/g, '\\$1')}"`
  const encoded = encodeURIComponent(name.toWellFormed())
  return `attachment; filename="${encoded}"; filename*=UTF-8''${encoded}`
}
