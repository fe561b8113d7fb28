"""A way to the daemon's socket on which the bulk of the answers can be held back: a restore that stands still where the
test wants it."""

import pathlib
import selectors
import socket
import threading

from .scratch import give_to


class Gate(threading.Thread):
    """Listens as folder/pgcoffer.sock; `held` is set once `most` bytes came from the daemon and nothing more passes."""

    def __init__(self, folder, target, most):
        super().__init__(daemon=True)
        self.path, self.target, self.left = pathlib.Path(folder) / "pgcoffer.sock", str(target), most
        self.held = threading.Event()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.path))
        give_to(self.path)
        self.listener.listen(64)
        self.lock = threading.Lock()
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.waiting = {}  # the daemon's ends of which nothing is read, and whom they answer
        self.start()

    def open(self):
        """Everything passes from now on."""
        self.let(1 << 62)

    def let(self, most):
        """So many bytes more pass, about."""
        with self.lock:
            self.left = most
            for end, other in self.waiting.items():
                self.selector.register(end, selectors.EVENT_READ, (other, True))
            self.waiting = {}

    def take(self):
        client, _ = self.listener.accept()
        daemon = socket.socket(socket.AF_UNIX)
        daemon.connect(self.target)
        self.selector.register(client, selectors.EVENT_READ, (daemon, False))
        self.selector.register(daemon, selectors.EVENT_READ, (client, True))

    def drop(self, *ends):
        for end in ends:
            if end in self.waiting:
                del self.waiting[end]
            elif end.fileno() >= 0:
                self.selector.unregister(end)
            end.close()

    def carry(self, end, other, is_daemon):
        if is_daemon and self.left <= 0 and len(end.recv(65536, socket.MSG_PEEK)) > 4096:
            self.selector.unregister(end)  # what is short passes: the words of a report, and of a plan
            self.waiting[end] = other
            self.held.set()
            return
        try:
            piece = end.recv(65536)
            other.sendall(piece)
        except OSError:
            piece = b""
        if is_daemon:
            self.left -= len(piece)
        if not piece:
            self.drop(end, other)

    def run(self):
        while True:
            for key, _ in self.selector.select(0.05):
                with self.lock:
                    if key.fileobj is self.listener:
                        self.take()
                    elif key.fileobj.fileno() >= 0 and key.fileobj not in self.waiting:
                        self.carry(key.fileobj, *key.data)
