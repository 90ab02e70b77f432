// The connections to the Docker daemon. Its client waits for the end of an answer, and one that is cut off, as by a daemon that is
// killed, has none: it would wait for ever, whatever its deadline. So whoever asked is told.

import { type ClientRequest, Agent as HttpAgent, type IncomingMessage } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'

/** As those have it that Node makes for everybody. */
const OPTIONS = { keepAlive: true, scheduling: 'lifo', timeout: 5000 } as const

/** By what every agent is given its requests; Node's types leave it out. */
type GivenRequests = { addRequest(request: ClientRequest, ...how: unknown[]): void }

export function createAgent({ isTls }: { isTls: boolean }): HttpAgent {
  const agent = isTls ? new HttpsAgent(OPTIONS) : new HttpAgent(OPTIONS)
  const given = agent as unknown as GivenRequests
  const add = given.addRequest.bind(agent)
  given.addRequest = (request, ...how) => {
    request.once('response', (answer) => tellOfCutOff(request, answer))
    add(request, ...how)
  }
  return agent
}

function tellOfCutOff(request: ClientRequest, answer: IncomingMessage): void {
  answer.once('close', () => {
    if (!answer.complete) request.emit('error', new Error('socket hang up'))
  })
}
