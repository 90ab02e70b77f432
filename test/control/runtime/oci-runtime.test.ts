import { expect, test } from 'vitest'
import { createOciRuntime } from '../../../control/runtime/local/oci-runtime.ts'
import type { RunOptions } from '../../../lib/run-program.ts'

const signal = AbortSignal.timeout(5000)

/** What a runtime is started with, for a create and a removal. */
async function startsOf(program: string): Promise<{ line: string; env: RunOptions['env'] }[]> {
  const starts: { line: string; env: RunOptions['env'] }[] = []
  const oci = createOciRuntime(program, {
    root: '/nonexistent/root',
    run: async (name, args, { env } = {}) => {
      starts.push({ line: [name, ...args].join(' '), env })
      return { code: 0, stdout: '', stderr: '' }
    },
  })
  await oci.run('s1', { bundle: '/b', pidFile: '/b/pid', log: '/b/log' }, signal)
  await oci.delete('s1', signal)
  return starts
}

test('runc works on one processor at a time, and takes no key of the kernel', async () => {
  expect(await startsOf('/usr/sbin/runc')).toEqual([
    {
      line: '/usr/sbin/runc --root /nonexistent/root --log /b/log --log-format json run --detach --no-new-keyring --bundle /b --pid-file /b/pid s1',
      env: { GOMAXPROCS: '1' },
    },
    { line: '/usr/sbin/runc --root /nonexistent/root delete --force s1', env: { GOMAXPROCS: '1' } },
  ])
})

test.each(['crun', 'runsc'])(
  '%s is told nothing of processors: it may live as long as its sandbox',
  async (program) => {
    for (const { env } of await startsOf(program)) expect(env).toBeUndefined()
  },
)
