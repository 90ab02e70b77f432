import type { Routes } from '../http/router.ts'

export function commandRoutes(_options: object): Routes {
  return {}
}
