// The gateway program: reads the configuration, listens, follows control's routes feed, serves until it is stopped.

import { messageOf, systemCodeOf } from '../lib/errors.ts'
import { instanceOf } from '../lib/instance.ts'
import { createLogger } from '../lib/log.ts'
import { makeDataDir, readConfiguration, refuse } from '../lib/program.ts'
import { reportReady, stopSignal, untilAborted } from '../lib/stop.ts'
import { accessSettings, describeListenError, HELP, USAGE } from './config.ts'
import { RoutesFeed } from './routes-feed.ts'
import { createGateway } from './server.ts'

const DRAIN_MS = 3000

const { config, warnings, flags } = readConfiguration({
  env: process.env,
  args: process.argv.slice(2),
  ownFlags: [HELP],
})
if (flags.has(HELP)) {
  process.stdout.write(USAGE)
  process.exit(0)
}
const log = createLogger({ program: 'gateway', level: config.log.level })
for (const warning of warnings) log.warn(warning)
const { dataDir, host } = config.server
makeDataDir(dataDir)
const instance = instanceOf(dataDir)
const stop = stopSignal(log)
const routes = new RoutesFeed({ socketPath: instance.feedSocket, log })
const gateway = createGateway({
  access: accessSettings(config),
  controlSocket: instance.controlSocket,
  routes,
  log,
  logsRequests: config.log.level === 'debug',
})
let port: number
try {
  port = await gateway.listen(config.server)
} catch (error) {
  refuse(describeListenError(systemCodeOf(error), messageOf(error), config.server))
}
const following = routes.run(stop)
const stopped = untilAborted(stop)
await Promise.race([routes.ready, stopped])
if (!stop.aborted) {
  log.info('ready', { host, port, routes: routes.size })
  reportReady({ port })
}
await stopped
await gateway.close(DRAIN_MS)
await following
log.info('stopped')
process.exit(0)
