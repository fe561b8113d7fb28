"""A way to the server that may fall silent: bytes vanish and no connection ends, as behind a firewall that forgot it."""

import selectors
import socket
import threading


class Proxy(threading.Thread):
    def __init__(self, port):
        super().__init__(daemon=True)
        self.target = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.lock = threading.Lock()
        self.is_silent = False
        self.silent_after = None  # the first piece from the server that holds this is the last one
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.swallowed = set()  # connections of which nothing arrives any more, and which never end
        self.start()

    def fall_silent(self):
        """For every connection there is, for ever; new ones pass again after speak()."""
        with self.lock:
            self.is_silent = True
            self.swallowed |= {key.fileobj for key in self.selector.get_map().values() if key.data}

    def speak(self):
        with self.lock:
            self.is_silent = False

    def take(self):
        client, _ = self.listener.accept()
        server = socket.create_connection(("127.0.0.1", self.target))
        for one, other, is_server in ((client, server, False), (server, client, True)):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.selector.register(one, selectors.EVENT_READ, (other, is_server))
        if self.is_silent:
            self.swallowed |= {client, server}

    def drop(self, *ends):
        for end in ends:
            try:
                self.selector.unregister(end)
            except (KeyError, ValueError):
                pass
            end.close()

    def carry(self, end, other, is_server):
        try:
            piece = end.recv(65536)
        except OSError:
            piece = b""
        if end in self.swallowed:
            if not piece:
                self.selector.unregister(end)  # whoever is at the other end is not told
            return
        if not piece:
            self.drop(end, other)
            return
        try:
            other.sendall(piece)
        except OSError:
            self.drop(end, other)
            return
        if is_server and self.silent_after is not None and self.silent_after in piece:
            self.swallowed |= {end, other}

    def run(self):
        while True:
            for key, _ in self.selector.select():
                with self.lock:
                    if key.fileobj is self.listener:
                        self.take()
                    elif key.fileobj.fileno() >= 0:
                        self.carry(key.fileobj, *key.data)
