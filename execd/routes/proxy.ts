// ANY /proxy/{port}/{rest}: what listens on the sandbox's loopback (contract: execd.md 1.5).

import type { Family } from '../family.ts'
import { answerText } from '../http/answer.ts'
import type { Exchange } from '../http/router.ts'
import { createForwarder } from '../proxy/forward.ts'
import { type ProxyTarget, parseTarget } from '../proxy/target.ts'
import { forwardUpgrade, type Joined } from '../proxy/upgrade.ts'
import type { Surroundings } from '../surroundings.ts'

export function proxyFamily({ log }: Surroundings): Family {
  const forwarder = createForwarder(log)
  const joined: Joined = new Set()
  return {
    routes: {
      '* /proxy': (exchange) => {
        const target = targetOf(exchange)
        if (target) forwarder.forward(exchange.request, exchange.response, target)
      },
      'UPGRADE* /proxy': (exchange) => {
        const target = targetOf(exchange)
        if (target) forwardUpgrade({ forwarder, joined }, exchange, target)
      },
    },
    endAll: () => {
      forwarder.close()
      for (const client of joined) client.destroySoon()
      return Promise.resolve()
    },
  }
}

/** Where it goes; when nowhere, the client has been answered. */
function targetOf({ request, response }: Exchange): ProxyTarget | undefined {
  const target = parseTarget(request.url ?? '', request.socket.localPort ?? 0)
  if (!('problem' in target)) return target
  request.resume()
  answerText(response, 400, target.problem)
  return undefined
}
