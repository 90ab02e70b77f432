import type { Operation } from './operation.ts'

const tag = 'Administration'

export const IMAGE_OPERATIONS: Operation[] = [
  {
    method: 'get',
    path: '/v1/admin/images',
    id: 'listImages',
    summary: "List the images of the machine, and those that are coming. For the operator's keys.",
    tag,
    answers: { 200: ['All images', 'ListImagesResponse'], 403: ['Not for this key'] },
  },
  {
    method: 'post',
    path: '/v1/admin/images',
    id: 'pullImage',
    summary: "Fetch an image before a sandbox needs it. For the operator's keys.",
    tag,
    body: 'PullImageRequest',
    answers: {
      201: ['It is there', 'Image'],
      202: ['It is coming, and is listed until it is there', 'ImagePull'],
      400: ['There is no such image, or this login may not have it'],
      403: ['Not for this key'],
      409: ['It is being fetched in another way'],
      429: ['Many are being fetched'],
      502: ['Its registry failed'],
    },
  },
  {
    method: 'delete',
    path: '/v1/admin/images/{id}',
    id: 'removeImage',
    summary: "Remove an image that nothing needs. For the operator's keys.",
    tag,
    answers: {
      204: ['It is gone'],
      403: ['Not for this key'],
      404: ['No such image'],
      409: ['Something needs it'],
    },
  },
  {
    method: 'post',
    path: '/v1/admin/images-gc',
    id: 'collectImages',
    summary:
      "Remove images by age and size, by the configuration's bounds or those given. For the operator's keys.",
    tag,
    body: 'CollectImagesRequest',
    isBodyOptional: true,
    answers: {
      200: ['What was removed', 'CollectImagesResponse'],
      400: ['There is no bound'],
      403: ['Not for this key'],
    },
  },
]
