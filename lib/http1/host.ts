const HOST = /^(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._~-]{1,255})(?::\d{0,5})?$/

/** Whether a text can be a `Host`: a name or an address, with a port or without. */
export function isHost(text: string): boolean {
  return HOST.test(text)
}
