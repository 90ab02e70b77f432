// The path form of a sandbox's URL, `/sandboxes/{id}/proxy/{port}/`, in which all sandboxes and the API share one origin.

/** The `Content-Security-Policy` that gives a document an origin of nobody (docs/decisions/path-form-navigations.md). */
export const NO_ORIGIN_POLICY = 'sandbox allow-scripts allow-forms allow-popups allow-modals allow-downloads'
