"""A restored data directory, started and asked."""

from .cluster import Cluster


def restore(agent, target, *words, server="primary", code=0, **rest):
    """pgcoffer restore; gives the Result after checking its exit code."""
    result = agent.cli("restore", server, *words, "--target-directory", target, "--json", **rest)
    assert result.code == code, f"{result}\n--- daemon\n{agent.log_text()[-4000:]}"
    return result


def start_restored(folder, pki, target, version=15, promoted=True, settings=(), **options):
    """Starts PostgreSQL on `target`; waits for the end of recovery unless told otherwise. The caller closes it."""
    cluster = Cluster(folder, pki, version=version, data=target, **options)
    cluster.configure("hot_standby = on", *settings)
    cluster.start()
    if promoted:
        cluster.wait_until_promoted()
    return cluster
