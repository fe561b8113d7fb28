"""A standby of a running cluster, by a copy of its data directory: works for every version and needs no pg_basebackup."""

from .cluster import Cluster
from .scratch import give_to, make_folder, run, wait_for


def make_standby(make_cluster, primary, name, upstream=None):
    """Stops the primary for the copy. Follows `upstream` (default: the primary) over its Unix socket."""
    folder = make_folder(primary.folder.parent / name, 0o755)
    primary.stop("fast")
    run(["cp", "-a", primary.data, folder / "data"])
    primary.start()
    run(["rm", "-rf", folder / "data" / "pg_replslot"])
    run(["mkdir", "-m", "700", folder / "data" / "pg_replslot"])
    standby = make_cluster(name, data=folder / "data", version=primary.version)
    follow(standby, upstream or primary)
    standby.start()
    wait_for(lambda: (upstream or primary).sql("SELECT count(*) FROM pg_stat_replication WHERE application_name = %s", name) == 1,
             f"{name} follows\n{standby.log_text()[-2000:]}")
    return standby


def follow(standby: Cluster, upstream: Cluster):
    """Before a start: from now on a standby of that one."""
    standby.configure("hot_standby = on", "recovery_target_timeline = 'latest'",
                      f"primary_conninfo = 'host={upstream.sockets} port={upstream.port} user=postgres "
                      f"application_name={standby.folder.name}'")
    (standby.data / "standby.signal").touch()
    give_to(standby.data / "standby.signal")
