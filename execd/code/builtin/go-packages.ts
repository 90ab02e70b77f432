// Packages of Go's standard library that cells may use without importing them, by name.

const PATHS =
  'bufio bytes cmp context crypto/md5 crypto/sha1 crypto/sha256 crypto/sha512 encoding/base64 encoding/binary encoding/csv encoding/hex encoding/json encoding/xml errors fmt html io io/fs log maps math math/big math/bits math/cmplx math/rand net net/http net/url os os/exec path/filepath reflect regexp runtime slices sort strconv strings sync sync/atomic text/tabwriter text/template time unicode unicode/utf8'

export const GO_PACKAGES: Record<string, string> = Object.fromEntries(
  PATHS.split(' ').map((path) => [path.slice(path.lastIndexOf('/') + 1), path]),
)
