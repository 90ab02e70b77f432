import type { Routes } from '../http/router.ts'

export function fileRoutes(_options: object): Routes {
  return {}
}
