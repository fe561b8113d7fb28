"""Servers that are not PostgreSQL, or pretend to be: each takes connections on a loopback port until it is closed."""

import socket
import ssl
import struct
import threading


class Impostor:
    """Calls `answer(connection)` for each connection, in a thread; remembers every byte that came in `received`."""

    def __init__(self, answer):
        self.answer = answer
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.received = b""
        self.connections = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            with connection:
                self.answer(self, connection)
        except (OSError, ssl.SSLError):
            pass

    def hear(self, connection, size=65536):
        data = connection.recv(size)
        self.received += data
        return data

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)  # wakes accept(), which would answer for whoever gets the port next
        self.listener.close()
        for connection in self.connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def until_closed(impostor, connection):
    while impostor.hear(connection):
        pass


def silence(impostor, connection):
    until_closed(impostor, connection)


def hang_up(impostor, connection):
    impostor.hear(connection)


def http(impostor, connection):
    impostor.hear(connection)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    until_closed(impostor, connection)


def no_tls(impostor, connection):
    impostor.hear(connection, 8)
    connection.sendall(b"N")
    until_closed(impostor, connection)


def garbage_after_yes(impostor, connection):
    impostor.hear(connection, 8)
    connection.sendall(b"S" + b"\x5a" * 4096)
    until_closed(impostor, connection)


def half_a_record(impostor, connection):
    impostor.hear(connection, 8)
    connection.sendall(b"S")
    impostor.hear(connection)
    connection.sendall(b"\x16\x03\x03\x40\x00\x02")
    until_closed(impostor, connection)


def endless_data(impostor, connection):
    impostor.hear(connection, 8)
    connection.sendall(b"S")
    impostor.hear(connection)
    while True:
        connection.sendall(b"\x16\x03\x03\x00\x04\x00\x00\x00\x00" * 1000)


def raw_tls(context):
    """A port that speaks TLS at once, as stunnel and haproxy do."""
    def answer(impostor, connection):
        with context.wrap_socket(connection, server_side=True) as channel:
            until_closed(impostor, channel)
    return answer


def tls_context(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.certificate, certificate.key)
    return context


def message(kind, body):
    return kind + struct.pack("!I", len(body) + 4) + body


def pretender(context, *answers):
    """Yes to TLS, and after the startup packet the messages given; then it listens."""
    def answer(impostor, connection):
        impostor.hear(connection, 8)
        connection.sendall(b"S")
        with context.wrap_socket(connection, server_side=True) as channel:
            impostor.hear(channel)
            for each in answers:
                channel.sendall(each)
            until_closed(impostor, channel)
    return answer


def relay(context, port):
    """A proxy that ends TLS and opens a connection of its own to PostgreSQL at that port."""
    outwards = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    outwards.check_hostname, outwards.verify_mode = False, ssl.CERT_NONE

    def pump(source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except (OSError, ssl.SSLError):
            pass
        for each in (source, target):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def answer(impostor, connection):
        impostor.hear(connection, 8)
        connection.sendall(b"S")
        server = socket.create_connection(("127.0.0.1", port))
        server.sendall(struct.pack("!II", 8, 80877103))
        server.recv(1)
        with context.wrap_socket(connection, server_side=True) as near, outwards.wrap_socket(server) as far:
            back = threading.Thread(target=pump, args=(far, near), daemon=True)
            back.start()
            pump(near, far)
            back.join(10)
    return answer


ASK_CLEARTEXT = message(b"R", struct.pack("!I", 3))
ADMIT = (message(b"R", struct.pack("!I", 0)) + message(b"S", b"server_version\x0015.7\x00") + message(b"K", b"\0" * 8)
         + message(b"Z", b"I"))
