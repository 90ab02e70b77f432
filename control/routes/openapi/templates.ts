import { z } from 'zod'
import { listQuerySchema } from '../../../lib/api/lifecycle.ts'
import type { Operation } from './operation.ts'

const templateQuery = listQuerySchema.extend({
  metadata: z
    .string()
    .optional()
    .describe('Labels that must all fit, as "key=value&key2=value2", encoded once more'),
})

export const TEMPLATE_OPERATIONS: Operation[] = [
  {
    method: 'post',
    path: '/v1/templates',
    id: 'createTemplate',
    summary: 'Prepare an image: fetch it, start it, wait until it is ready, and publish it under a name.',
    tag: 'Templates',
    body: 'CreateTemplateRequest',
    answers: { 201: ['The template, Pending', 'Template'], 400: ['Refused'], 422: ['Not well formed'] },
  },
  {
    method: 'get',
    path: '/v1/templates',
    id: 'listTemplates',
    summary: 'List templates, the newest first, by labels.',
    tag: 'Templates',
    query: templateQuery,
    answers: { 200: ['A page of templates', 'ListTemplatesResponse'], 400: ['A filter cannot be read'] },
  },
  {
    method: 'get',
    path: '/v1/templates/{id}',
    id: 'getTemplate',
    summary: 'Read one template and how far it is.',
    tag: 'Templates',
    answers: { 200: ['The template', 'Template'], 404: ['No such template'] },
  },
  {
    method: 'delete',
    path: '/v1/templates/{id}',
    id: 'deleteTemplate',
    summary: 'Delete a template; sandboxes that were made from it stay.',
    tag: 'Templates',
    answers: { 204: ['It is gone'], 404: ['No such template'] },
  },
]
