// The guest book: who came, newest first, and at most `limit` of them.

export function createGuestbook(limit = 100) {
  const guests = []
  return {
    sign(name) {
      const guest = String(name).trim().slice(0, 40)
      if (guest === '') throw new TypeError('A guest needs a name')
      guests.unshift(guest)
      guests.length = Math.min(guests.length, limit)
      return guest
    },
    guests: () => [...guests],
  }
}
