/** The version of this product; a test holds it to package.json, which is not there in a sandbox. */
export const VERSION = '0.1.0'
