// The name of a field as servers behind gateways of the CGI kind read it: they see no difference between `X_Key` and `X-Key`. Pure.

export function canonicalField(name: string): string {
  return hyphenated(name.toLowerCase())
}

/** `key`: a name in small letters. */
export function hyphenated(key: string): string {
  return key.includes('_') ? key.replaceAll('_', '-') : key
}
