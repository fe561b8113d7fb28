"""A TCP proxy that does to connections what networks do: cut, delay, half-close, trickle, corrupt. By chance, seeded."""

import asyncio
import random
import threading

PIECE = 65536
TRICKLED = 2000  # bytes that come by sevens
DEEDS = ("cut", "reset", "half", "corrupt", "delay", "trickle")
PEACE = ("pass", 0)


class Proxy:
    """Listens on `port`; runs in a thread of its own until it is closed."""

    def __init__(self, target_port, seed):
        self.target_port, self.chance = target_port, random.Random(seed)
        self.is_wild = False
        self.deeds = dict.fromkeys(("pass", *DEEDS), 0)
        self.connections = set()
        self.loop = asyncio.new_event_loop()
        self.is_ready = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        self.is_ready.wait(30)

    def _run(self):
        asyncio.set_event_loop(self.loop)
        server = self.loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self.is_ready.set()
        self.loop.run_forever()

    def rage(self):
        """What was begun in peace is cut too."""
        self.is_wild = True
        self.loop.call_soon_threadsafe(self._cut_all)

    def calm(self):
        """From now on everything passes; what was begun in the wild time is cut."""
        self.is_wild = False
        self.loop.call_soon_threadsafe(self._cut_all)

    def _cut_all(self):
        for writer in list(self.connections):
            writer.transport.abort()

    def close(self):
        self.calm()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)

    async def _serve(self, reader, writer):
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
        except OSError:
            writer.transport.abort()
            return
        self.connections |= {writer, server_writer}
        upward, downward = PEACE, PEACE
        if self.is_wild:
            # Some within the handshake, some within the stream, some in the middle of a lot.
            is_upward = self.chance.random() < 0.3
            fate = self._choose(DEEDS, 0, 14 if is_upward else 22)
            upward, downward = (fate, PEACE) if is_upward else (PEACE, fate)
        else:
            self.deeds["pass"] += 1
        try:
            await asyncio.gather(self._copy(reader, server_writer, *upward), self._copy(server_reader, writer, *downward))
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.connections -= {writer, server_writer}
            for each in (writer, server_writer):
                each.transport.abort()

    def _choose(self, deeds, least, most):
        """What is done, and after how many bytes."""
        deed = self.chance.choice(deeds)
        self.deeds[deed] += 1
        return deed, int(2 ** self.chance.uniform(least, most))

    async def _copy(self, reader, writer, deed, left):
        while piece := await reader.read(PIECE):
            if deed == "pass" or len(piece) < left:
                left -= len(piece)
            else:
                piece = await self._do(deed, piece, left, writer)
                deed, left = self._choose(DEEDS, 8, 20) if self.is_wild else PEACE
            if piece is None:
                raise ConnectionAbortedError
            writer.write(piece)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()

    async def _do(self, deed, piece, left, writer):
        """What goes on instead of the piece; None: nothing any more."""
        if deed == "cut":  # in order: what was sent arrives
            writer.write(piece[:left])
            await writer.drain()
            writer.close()
            return None
        if deed == "reset":
            return None
        if deed == "half":
            writer.write(piece[:left])
            writer.write_eof()
            await asyncio.sleep(self.chance.uniform(0, 1))
            return None
        if deed == "corrupt":
            place = min(left, len(piece) - 1)
            return piece[:place] + bytes([piece[place] ^ 1 << self.chance.randrange(8)]) + piece[place + 1:]
        if deed == "delay":
            await asyncio.sleep(self.chance.uniform(0, 1.5))
            return piece
        for start in range(0, min(len(piece), TRICKLED), 7):
            writer.write(piece[start:min(start + 7, TRICKLED)])
            await writer.drain()
            await asyncio.sleep(0)
        return piece[TRICKLED:]
