import { randomUUID } from 'node:crypto'
import { type Context, Hono } from 'hono'
import { listQuerySchema } from '../../lib/api/lifecycle.ts'
import { formatPagination, formatTime } from '../../lib/api/lifecycle-parts.ts'
import { type Template, templateRequestSchema } from '../../lib/api/templates.ts'
import { maySee, ownTenant } from '../access/principal.ts'
import type { AppDeps, AppEnv } from '../app-deps.ts'
import { queryOf, readBody, readQuery } from '../body.ts'
import { refusal } from '../errors.ts'
import { parseMetadataFilter } from '../sandbox/metadata.ts'
import { planCreate } from '../sandbox/plan.ts'
import type { TemplateRow } from '../store/templates.ts'
import { checkTemplate, requestOfTemplate } from '../templates/request.ts'

/** Templates: images prepared and tried out beforehand (contract: v1.1.md 1.4). */
export function templateRoutes({ lives, pooling }: AppDeps): Hono<AppEnv> {
  const routes = new Hono<AppEnv>()
  const { deps, builder } = pooling
  const { templates } = deps

  const named = (context: Context<AppEnv>): TemplateRow => {
    const template = templates.get(context.req.param('id') ?? '')
    if (!template || !maySee(context.get('principal'), template.tenant)) throw noTemplate()
    return template
  }

  routes.post('/templates', async (context) => {
    const request = await readBody(context, templateRequestSchema)
    checkTemplate(request)
    planCreate(requestOfTemplate(request), deps.planLimits())
    const at = lives.now()
    const template = templates.insert({
      id: `tpl-${randomUUID()}`,
      tenant: ownTenant(context.get('principal')),
      request: { ...request, publish: request.publish.trim() },
      metadata: request.metadata ?? {},
      phase: 'Pending',
      message: null,
      image: null,
      createdAt: at,
      updatedAt: at,
    })
    builder.wake()
    const prefix = context.req.path.startsWith('/v1/') ? '/v1' : ''
    context.header('Location', `${prefix}/templates/${template.id}`)
    if (request.resourceLimits?.disk !== undefined)
      context.header('OpenSandbox-Warning', 'resourceLimits.disk has no effect on this runtime')
    return context.json(format(template), 201)
  })

  routes.get('/templates', (context) => {
    const { page, pageSize } = readQuery(context, listQuerySchema)
    const metadata = queryOf(context).get('metadata')
    const { tenant } = context.get('principal')
    const { rows, total } = templates.list({
      ...(tenant !== undefined && { tenant }),
      ...(metadata !== null && { labels: parseMetadataFilter(metadata) }),
      limit: pageSize,
      offset: (page - 1) * pageSize,
    })
    return context.json({ items: rows.map(format), pagination: formatPagination(page, pageSize, total) })
  })

  routes.get('/templates/:id', (context) => context.json(format(named(context))))

  // Sandboxes that were made from it go on: they have all that they need.
  routes.delete('/templates/:id', (context) => {
    const { id } = named(context)
    if (!templates.delete(id)) throw noTemplate()
    builder.cancel(id)
    return context.body(null, 204)
  })

  return routes
}

function format({ id, request, phase, message, createdAt, updatedAt }: TemplateRow): Template {
  return {
    ...request,
    templateId: id,
    format: request.format ?? 'overlaybd',
    status: {
      phase,
      ...(phase === 'Succeeded' && { manifestRef: request.publish }),
      ...(message !== null && { message }),
    },
    createdAt: formatTime(createdAt),
    updatedAt: formatTime(updatedAt),
  }
}

function noTemplate(): Error {
  return refusal('FSB::TEMPLATE_NOT_FOUND', 'There is no template with this id')
}
