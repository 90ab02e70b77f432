# Takes one large body after the other and answers when it is whole: python3 sink.py PORT. Reads into one buffer, so that what is in
# front of it is measured.

import re, socket, sys, threading
def serve(connection):
    memory, head = bytearray(1 << 20), b""
    while b"\r\n\r\n" not in head:
        part = connection.recv(65536)
        if not part:
            return
        head += part
    end = head.index(b"\r\n\r\n") + 4
    left = int(re.search(rb"content-length: (\d+)", head, re.I)[1]) - (len(head) - end)
    while left > 0:
        count = connection.recv_into(memory)
        if count == 0:
            return
        left -= count
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
    connection.close()
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
