// Named lists of targets that a rule can mean by `set:name`: those that come with the product, and those of the operator, which
// replace ones of the same name.

/** Targets by the name of their set. */
export type RuleSets = ReadonlyMap<string, readonly string[]>

/** What programs that fetch packages and sources connect to. */
const BUILT_IN: Readonly<Record<string, readonly string[]>> = {
  apt: [
    'deb.debian.org',
    'security.debian.org',
    'archive.ubuntu.com',
    'security.ubuntu.com',
    'ports.ubuntu.com',
  ],
  crates: ['crates.io', 'index.crates.io', 'static.crates.io'],
  debian: ['deb.debian.org', 'security.debian.org', 'snapshot.debian.org'],
  github: [
    'github.com',
    'api.github.com',
    'codeload.github.com',
    'ghcr.io',
    '*.githubusercontent.com',
    'github-cloud.s3.amazonaws.com',
  ],
  gitlab: ['gitlab.com', 'registry.gitlab.com'],
  go: ['proxy.golang.org', 'sum.golang.org', 'go.dev', 'storage.googleapis.com'],
  huggingface: ['huggingface.co', '*.huggingface.co', '*.hf.co'],
  maven: ['repo.maven.apache.org', 'repo1.maven.org', 'plugins.gradle.org', 'services.gradle.org'],
  npm: ['registry.npmjs.org', 'registry.yarnpkg.com'],
  nuget: ['api.nuget.org', 'globalcdn.nuget.org'],
  pypi: ['pypi.org', 'files.pythonhosted.org'],
  rubygems: ['rubygems.org', 'index.rubygems.org'],
  ubuntu: ['archive.ubuntu.com', 'security.ubuntu.com', 'ports.ubuntu.com'],
}

/** All sets there are, the operator's among them. */
export function ruleSetsOf(configured: Readonly<Record<string, readonly string[]>> = {}): RuleSets {
  return new Map(Object.entries({ ...BUILT_IN, ...configured }).sort(([a], [b]) => (a < b ? -1 : 1)))
}
