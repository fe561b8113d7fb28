"""The network breaks: backups and the receiver through the proxy, for some seconds, and then the same invariants."""

import shutil
import time

from invariants import PATIENCE
from proxy import Proxy

# What a command may say when the network broke: the server is gone, or TLS saw it.
ALLOWED_EXITS = (0, 5, 6)


class Storm:
    def __init__(self, world, seed):
        self.world, self.invariants = world, world.invariants
        self.proxy = Proxy(world.cluster.port, seed)
        self.rounds = 0

    def begin(self):
        world = self.world
        world.stop_daemon()
        world.agent.servers["primary"]["port"] = self.proxy.port
        world.agent.write_configuration()
        world.start_daemon()
        world.agent.wait_streaming("primary", PATIENCE)
        self.start, self.timeline = world.lsn(), world.timeline()

    def run(self, seconds):
        """Gives how many connections were spoiled."""
        world = self.world
        self.begin()
        self.proxy.rage()
        deadline = time.monotonic() + seconds
        try:
            while time.monotonic() < deadline:
                self.round()
                self.rounds += 1
        finally:
            self.proxy.calm()
        world.mark()
        world.wait_acknowledged(world.lsn())
        world.wait_for_jobs()
        self.check()
        return sum(count for deed, count in self.proxy.deeds.items() if deed != "pass")

    def round(self):
        raise NotImplementedError

    def check(self):
        world, invariants = self.world, self.invariants
        invariants.nothing_acknowledged_lost(world.acknowledged(), "after the storm")
        invariants.demand(invariants.wal_is_settled(PATIENCE), "segments are not compressed")
        if invariants.temporary_files():
            world.restart_daemon()
        invariants.no_leftovers()
        invariants.wal_has_no_gap()
        end = world.lsn()
        world.wait_acknowledged(end)
        invariants.wal_reads(self.start, end, self.timeline)
        invariants.backups_are_whole()
        invariants.verified()

    def end(self):
        self.proxy.close()
        self.world.stop_daemon()
        self.world.agent.servers["primary"]["port"] = self.world.cluster.port
        self.world.agent.write_configuration()
        self.world.start_daemon()
        self.world.agent.wait_streaming("primary", PATIENCE)


class StreamingStorm(Storm):
    """The receiver under load; what it acknowledges is on the disk at every moment."""
    name = "stream-storm"

    def round(self):
        world = self.world
        world.mark(700)
        self.invariants.nothing_acknowledged_lost(world.acknowledged(), "in the storm")
        time.sleep(self.proxy.chance.uniform(0, 0.5))
        if self.rounds % 4 == 3:  # a new one does not wait for seconds after so many failures
            world.restart_daemon()
        if self.rounds % 20 == 19:
            self.proxy.calm()
            world.wait_acknowledged(world.lsn())
            self.proxy.rage()


class BackupStorm(Storm):
    """Backups: each is whole and listed, or failed and gone."""
    name = "backup-storm"

    def round(self):
        world, invariants = self.world, self.invariants
        done = world.agent.cli("backup", "primary", "--fast-checkpoint", "--json")
        invariants.demand(done.code in ALLOWED_EXITS, f"a backup in the storm: {done}")
        if done.code != 0:
            return
        backup = done.json["id"]
        invariants.verified(backup)
        target = world.new_target()
        restored = world.restore(target, backup)
        invariants.demand(restored.code == 0, f"a backup taken in the storm does not restore: {restored}")
        shutil.rmtree(target)
        world.agent.ok("delete", "primary", backup)


STORMS = {kind.name: kind for kind in (StreamingStorm, BackupStorm)}
