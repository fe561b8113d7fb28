"""What a power cut takes: bytes nobody synced, and names whose folder nobody synced, by the ledger the library keeps.

The strictest reading of POSIX, which no file system undercuts: the bytes of a file behind its last fsync are gone (or zeros), and
so are files, folders and renames made since the last fsync of the folder they lie in. Removals are taken for durable.
"""

import os
import pathlib
import shutil


class Losses:
    def __init__(self, ledger, folder, chance):
        self.ledger, self.folder, self.chance = ledger, pathlib.Path(folder), chance
        ledger.write_text("")
        self.sizes = {status.st_ino: status.st_size for _, status in files_below(self.folder)}  # inode: durable size

    def _read_ledger(self):
        """The durable sizes and, in order, what happened to names and is not durable."""
        sizes, pending = dict(self.sizes), []
        for line in self.ledger.read_text(errors="replace").splitlines():
            word, _, rest = line.partition(" ")
            if word == "created":
                inode, path = rest.split(" ", 1)
                sizes[int(inode)] = 0
                pending.append((os.path.dirname(path), word, path))
            elif word == "folder":
                pending.append((os.path.dirname(rest), word, rest))
            elif word == "synced":
                inode, size, _ = rest.split(" ", 2)
                sizes[int(inode)] = max(sizes.get(int(inode), 0), int(size))
            elif word == "synced-folder":
                pending = [entry for entry in pending if entry[0] != rest]
            elif word == "renamed":
                has_overwritten, source, target = rest.split(" ")
                if has_overwritten == "0":
                    pending.append((os.path.dirname(target), word, source, target))
                else:  # what was there before cannot be brought back: the rename counts as durable
                    pending = [entry for entry in pending if entry[-1] not in (source, target)]
            elif word == "removed":
                pending = [entry for entry in pending if entry[-1] != rest]
        return sizes, pending

    def take(self):
        """Takes what is lost from the disk; gives a function that puts zeros where a file system may leave them."""
        sizes, pending = self._read_ledger()
        kept = 0 if self.chance.random() < 0.6 else self.chance.randint(0, len(pending))
        for _, word, *paths in reversed(pending[kept:]):
            if word == "renamed" and os.path.lexists(paths[1]):
                os.rename(paths[1], paths[0])
            elif word == "created" and os.path.lexists(paths[0]):
                os.unlink(paths[0])
            elif word == "folder" and os.path.isdir(paths[0]):
                shutil.rmtree(paths[0])
        cut = []
        for path, status in files_below(self.folder):
            durable = sizes.get(status.st_ino, status.st_size)
            if path.is_symlink() or status.st_size <= durable:
                continue
            os.truncate(path, durable)
            cut.append((path, status.st_size))

        def put_zeros():
            for path, size in cut:
                if path.suffix == ".partial" and self.chance.random() < 0.5:
                    os.truncate(path, size)
        return put_zeros


def files_below(folder):
    """Each with its status; one that goes while we look, beside a receiver at work, is none."""
    for parent, _, names in os.walk(folder):
        for name in names:
            path = pathlib.Path(parent) / name
            try:
                yield path, path.lstat()
            except FileNotFoundError:
                continue
