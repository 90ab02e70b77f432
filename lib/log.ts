// One line per event: `time level program message key=value …`. A line says it all; secrets are named, never shown.

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]
export type LogFields = Record<string, unknown>

export type Logger = {
  debug(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
}

export type LoggerOptions = {
  program: string
  /** A function where the level changes while this runs. */
  level?: LogLevel | (() => LogLevel)
  write?: (line: string, level: LogLevel) => void
  now?: () => Date
}

/** A logger that writes lines to stderr, or to `write`. */
export function createLogger({
  program,
  level = 'info',
  write,
  now = () => new Date(),
}: LoggerOptions): Logger {
  const levelNow = typeof level === 'function' ? level : () => level
  const put = write ?? ((line: string) => void process.stderr.write(line))
  const at = (name: LogLevel) => (message: string, fields?: LogFields) => {
    if (LOG_LEVELS.indexOf(name) < LOG_LEVELS.indexOf(levelNow())) return
    put(
      `${now().toISOString()} ${name} ${program} ${quoteIfNeeded(message, /[\n\r]/)}${formatFields(fields)}\n`,
      name,
    )
  }
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
}

/** A logger that writes nothing, for tests. */
export function createSilentLogger(): Logger {
  const nothing = () => {}
  return { debug: nothing, info: nothing, warn: nothing, error: nothing }
}

function formatFields(fields: LogFields | undefined): string {
  if (!fields) return ''
  let text = ''
  for (const [key, value] of Object.entries(fields)) {
    if (value === undefined) continue
    text += ` ${key}=${formatValue(value)}`
  }
  return text
}

function formatValue(value: unknown): string {
  if (value instanceof Error) {
    const cause =
      value.cause === undefined
        ? ''
        : ` (cause: ${value.cause instanceof Error ? value.cause.message : String(value.cause)})`
    return JSON.stringify(value.message + cause)
  }
  if (typeof value === 'string') return quoteIfNeeded(value, /[\s"=]|^$/)
  return JSON.stringify(value) ?? String(value)
}

// A caller's text must not be able to start a line of its own in the log.
function quoteIfNeeded(text: string, when: RegExp): string {
  return when.test(text) ? JSON.stringify(text) : text
}
