"""The board: what run.py and the library in the processes under test tell each other. The layout is that of board.h."""

import mmap
import os
import struct

CLASSES = ("write", "sync", "rename", "unlink", "create", "send", "receive")
FAULTS = ("none", "eio", "enospc", "short", "reset", "end", "kill", "torn", "power")
LASTING = {"full": "enospc", "dead": "eio"}  # from that call on, until the board is cleared

# Which faults make sense for which calls.
FAULTS_OF = {
    "write": ("eio", "enospc", "full", "short", "torn", "kill", "power"),
    "sync": ("eio", "enospc", "dead", "kill", "power"),
    "rename": ("eio", "enospc", "kill", "power"),
    "unlink": ("eio", "kill", "power"),
    "create": ("eio", "enospc", "full", "kill", "power"),
    "send": ("reset", "short", "torn", "kill"),
    "receive": ("reset", "short", "end", "kill"),
}
DEADLY = ("kill", "torn", "power")

MAGIC = 0x62726B32
LAYOUT = struct.Struct("<4IQ2I32s256s7Q2IQ32s384s")
MODE = 4  # offset of what is written last


class Board:
    def __init__(self, path, owner):
        path.write_bytes(LAYOUT.pack(MAGIC, 0, 0, 0, 0, 0, 0, b"", b"", *[0] * 7, 0, 0, 0, b"", b""))
        path.chmod(0o666)
        owner(path)
        self.path = path
        descriptor = os.open(path, os.O_RDWR)
        self.memory = mmap.mmap(descriptor, LAYOUT.size)
        os.close(descriptor)

    def clear(self):
        self._set_mode(0)

    def _set_mode(self, mode):
        self.memory[MODE:MODE + 4] = struct.pack("<I", mode)

    def _arm(self, mode, role, folder, all_sockets, call_class=0, fault=0, number=0, is_lasting=0):
        self._set_mode(0)
        self.memory[:] = LAYOUT.pack(MAGIC, 0, call_class, fault, number, is_lasting, int(all_sockets), role.encode(),
                                     str(folder).encode(), *[0] * 7, 0, 0, 0, b"", b"")
        self._set_mode(mode)

    def count(self, role, folder, all_sockets=False):
        self._arm(1, role, folder, all_sockets)

    def inject(self, role, folder, call_class, number, fault, all_sockets=False):
        word = LASTING.get(fault, fault)
        self._arm(2, role, folder, all_sockets, CLASSES.index(call_class), FAULTS.index(word), number, int(fault in LASTING))

    def _read(self):
        return LAYOUT.unpack(self.memory[:])

    @property
    def counts(self):
        return dict(zip(CLASSES, self._read()[9:16]))

    @property
    def fired(self):
        return self._read()[16]

    def where(self):
        """The call that met the fault, in words."""
        values = self._read()
        call, path = (values[index].split(b"\0")[0].decode(errors="replace") for index in (19, 20))
        return f"{call} of {path}" if values[16] else "not reached"
