// What was acknowledged is there, and as it was acknowledged.

import type { Creates } from './creates.ts'
import type { Session } from './session.ts'

/** What is listed is what was acknowledged. */
export async function checkList(session: Session, creates: Creates, { isCalm = false } = {}): Promise<void> {
  const answer = await session.wait({ method: 'GET', path: '/v1/sandboxes?pageSize=200' })
  if (answer.status !== 200) session.fault(`list answered ${answer.status} ${answer.text}`)
  const items = new Map(
    (answer.body.items as { id: string; metadata?: Record<string, string> }[]).map((item) => [item.id, item]),
  )
  for (const [id, item] of items) {
    if (session.gone.has(id)) session.fault(`${id} is listed again after its end`)
    const known = session.known.find((other) => other.id === id)
    if (known) session.judgeShown(known, { ...answer, body: { ...item } }, 'list')
    else creates.discover(id, item.metadata ?? {}, isCalm)
  }
  for (const sandbox of [...session.known]) {
    if (items.has(sandbox.id)) continue
    if (sandbox.mustLive()) session.fault(`${sandbox.id} was acknowledged, and is not listed`)
    session.forget(sandbox)
  }
  if (isCalm) checkStates(session, creates)
}

/** Nothing is under way: what each sandbox is in is known for certain. */
function checkStates(session: Session, creates: Creates): void {
  for (const sandbox of session.known) {
    const row = session.simulation.store.get(sandbox.id)
    if (!row) continue
    const shown = row.state === 'Running' || row.state === 'Paused' ? row.state : 'Ended'
    if (sandbox.exact && sandbox.exact !== shown)
      session.fault(`${sandbox.id} is ${shown}, and was acknowledged as ${sandbox.exact}`)
    sandbox.exact = shown
    sandbox.isDisturbed = false
    // What was asked and not answered has been done by now, or never will be.
    if (!sandbox.isDeleted) sandbox.mayBeDeleted = false
    if (row.expiresAt === null || row.expiresAt > session.simulation.now()) sandbox.mayBeExpired = false
    sandbox.observeExpiry(row.expiresAt, ++session.clock)
  }
  creates.lostCreates.clear()
}
