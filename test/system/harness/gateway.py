"""What stands between two hosts: TLS in front of a daemon's Unix socket, and a network that cuts connections."""

import random
import select
import socket
import ssl
import threading

READ = 65536


class Gateway(threading.Thread):
    """Demands a certificate of `client_ca`; whoever connects is to the daemon the user who runs the tests' proxy."""

    def __init__(self, pki, path, host="127.0.0.1", pair=None, client_ca=None, family=socket.AF_INET, newest=None,
                 port=0, random_seed=5):
        super().__init__(daemon=True)
        self.path = str(path)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        if newest:
            self.context.maximum_version = newest
        pair = pair or pki.server
        self.context.load_cert_chain(pair.certificate, pair.key)
        self.context.verify_mode = ssl.CERT_REQUIRED
        self.context.load_verify_locations(client_ca or pki.client_ca.certificate)
        self.listener = socket.create_server((host, port), family=family)
        self.port = self.listener.getsockname()[1]
        self.taken = self.cuts = 0
        self.has_been_left = False
        self.random = random.Random(random_seed)
        self.cut_between = None  # (least, most) bytes towards the client until a connection is cut
        self.close_after_cuts = None  # then nobody is taken any more
        self.silent_after = None  # bytes; one connection then falls silent for ever
        self.is_hanging = False  # takes connections, and nothing else
        self.is_closed = False
        self.kept = []
        self.start()

    def run(self):
        while not self.is_closed:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.taken += 1
            if self.is_hanging:
                self.kept.append(client)
                continue
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def close(self):
        if not self.is_closed:
            self.is_closed = True
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()

    def serve(self, client):
        try:
            client = self.context.wrap_socket(client, server_side=True)
        except (OSError, ssl.SSLError):
            client.close()
            return
        daemon = socket.socket(socket.AF_UNIX)
        try:
            daemon.connect(self.path)
            self.carry(client, daemon)
        except (OSError, ssl.SSLError):
            pass
        daemon.close()
        client.close()

    def carry(self, client, daemon):
        left = self.random.randint(*self.cut_between) if self.cut_between else None
        carried = 0
        while True:
            readable = [client] if client.pending() else select.select([client, daemon], [], [])[0]
            if client in readable:
                piece = client.recv(READ)
                if not piece:
                    return
                daemon.sendall(piece)
            if daemon in readable:
                piece = daemon.recv(READ)
                if not piece:
                    return
                if left is not None and len(piece) >= left:
                    client.sendall(piece[:left])
                    self.cuts += 1
                    if self.cuts == self.close_after_cuts:
                        self.close()
                    return
                left = None if left is None else left - len(piece)
                client.sendall(piece)
                carried += len(piece)
                if self.silent_after is not None and carried >= self.silent_after:
                    self.silent_after = None
                    self.kept.append(client)
                    while client.recv(READ):  # until the other side gives up
                        pass
                    self.has_been_left = True
                    return


class Cutter(threading.Thread):
    """TCP in front of a real gateway; each connection ends after so many bytes towards the client, in mid-record."""

    def __init__(self, target, cut_between=None, seed=5, port=0):
        super().__init__(daemon=True)
        self.target, self.cut_between = target, cut_between
        self.random = random.Random(seed)
        self.listener = socket.create_server(("127.0.0.1", port))
        self.port = self.listener.getsockname()[1]
        self.cuts = 0
        self.is_closed = False
        self.start()

    def run(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def close(self):
        if not self.is_closed:
            self.is_closed = True
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()

    def serve(self, client):
        left = self.random.randint(*self.cut_between) if self.cut_between else None
        gateway = socket.socket()
        try:
            gateway.connect(("127.0.0.1", self.target))
            while True:
                for end in select.select([client, gateway], [], [])[0]:
                    piece = end.recv(READ)
                    if not piece:
                        return
                    if end is client:
                        gateway.sendall(piece)
                        continue
                    if left is not None and len(piece) >= left:
                        client.sendall(piece[:left])
                        self.cuts += 1
                        return
                    left = None if left is None else left - len(piece)
                    client.sendall(piece)
        except OSError:
            pass
        finally:
            client.close()
            gateway.close()
