// Serves the page, and passes every signature on to all open pages over a WebSocket.

import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { WebSocketServer } from 'ws'
import { createGuestbook } from './guestbook.js'

const book = createGuestbook()
const page = await readFile(new URL('./public/index.html', import.meta.url))
const style = await readFile(new URL('./public/style.css', import.meta.url))

const server = createServer((request, response) => {
  if (request.url === '/') response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(page)
  else if (request.url === '/style.css') response.writeHead(200, { 'content-type': 'text/css' }).end(style)
  else response.writeHead(404).end('not here\n')
})
const sockets = new WebSocketServer({ server, path: '/guests' })
const tellAll = () => {
  for (const socket of sockets.clients) socket.send(JSON.stringify(book.guests()))
}
sockets.on('connection', (socket) => {
  socket.send(JSON.stringify(book.guests()))
  socket.on('message', (name) => {
    book.sign(name)
    tellAll()
  })
})
server.listen(3000, '0.0.0.0', () => console.log('listening on 3000'))
