// Lets Node save memory rather than time as long as nobody's connections are relayed. What a burst of registrations leaves behind stays
// for good otherwise: 500 sandboxes of 100 rules took 230 MB and not 130. Relayed connections have the time back: a third of the
// intercepted requests was what they lost. They have it until there was none for a minute, as whoever pauses for seconds would otherwise
// find it gone each time: it takes some to be as fast again.

import { setFlagsFromString } from 'node:v8'

export type MemorySaving = {
  /** How many are relayed at the moment. */
  connections: () => number
  signal: AbortSignal
  setFlag?: (flag: string) => void
}

const LOOK_MS = 1000
const QUIET_LOOKS = 60

/** Begins when egress has started: given before, it would cost Node its compiled code. */
export function saveMemory({ connections, signal, setFlag = setFlagsFromString }: MemorySaving): void {
  let isSaving = false
  let quietLooks = QUIET_LOOKS
  const look = () => {
    quietLooks = connections() === 0 ? quietLooks + 1 : 0
    const shall = quietLooks >= QUIET_LOOKS
    if (shall !== isSaving) setFlag(shall ? '--optimize-for-size' : '--no-optimize-for-size')
    isSaving = shall
  }
  look()
  const timer = setInterval(look, LOOK_MS)
  timer.unref()
  signal.addEventListener('abort', () => clearInterval(timer), { once: true })
}
