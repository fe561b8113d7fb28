"""pgcoffer-add-cluster, which root runs on a cluster of somebody else: killed at every step, and set traps by the cluster's owner."""

import shlex
import shutil

import pytest

from harness.package import MARKS, WORK, build, whole_machine
from harness.scratch import wait_for

pytestmark = [pytest.mark.long, *MARKS]

SETTINGS = "/etc/postgresql/15/main"
HBA = f"{SETTINGS}/pg_hba.conf"
# In the place of setsid, which every step in the cluster's folders goes through: ends the run, as kill -9 does, at the given one.
DEADLY = """#!/bin/sh
echo >>/root/steps
[ "$(wc -l </root/steps)" -lt "$(cat /root/last-step)" ] || kill -9 "$(cat /root/run)"
exec /usr/bin/setsid "$@"
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory, scratch):
    with whole_machine(scratch) as machine:
        package = build(WORK / "build")
        shutil.copy(package, machine.root / "root")
        machine.boot()
        machine.ok("dpkg", "-i", f"/root/{package.name}")
        wait_for(lambda: "online" in machine.ok("pg_lsclusters"), "the cluster runs")
        machine.write("/usr/local/sbin/setsid", 'exec /usr/bin/setsid "$@"', "0755")
        yield machine


def as_postgres(machine, script):
    return machine.ok("setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "sh", "-ec", script).strip()


def sql(machine, statement):
    return as_postgres(machine, f"psql -XAtqc {shlex.quote(statement)} postgres")


def add(machine, *words):
    return machine.run("pgcoffer-add-cluster", "15", "main", *words)


def state(machine):
    """All that it could change."""
    return (machine.ok("sh", "-c", "find /etc/postgresql /etc/pgcoffer -printf '%p %u %m %l\\n' | sort; "
                       "find /etc/postgresql /etc/pgcoffer -type f | sort | xargs sha256sum; ls -A /root /run"),
            sql(machine, "SELECT string_agg(rolname, ',' ORDER BY rolname) FROM pg_roles"), sql(machine, "SHOW ssl_cert_file"))


def refuses(machine, reason, *words):
    before = state(machine)
    refused = add(machine, *words)
    assert refused.code == 1 and reason in refused.err, refused
    assert state(machine) == before


def test_a_trap_of_the_owner_leads_root_nowhere(machine):
    """Each would once have written a file of root's, or run a program as root."""
    machine.write("/etc/victim", machine.ok("cat", HBA))
    before = machine.ok("sha256sum", "/etc/victim"), machine.ok("ls", "-A", "/etc")

    # Where it writes are links into a folder of root's, which lead to nothing, or to a file.
    as_postgres(machine, f"ln -s /etc/new-file {SETTINGS}/conf.d/pgcoffer.conf")
    refuses(machine, "conf.d/pgcoffer.conf\" is there already")
    as_postgres(machine, f"rm {SETTINGS}/conf.d/pgcoffer.conf; ln -s /etc/new-folder {SETTINGS}/pgcoffer")
    refuses(machine, "was added before")
    as_postgres(machine, f"rm {SETTINGS}/pgcoffer; ln -s /etc/victim {HBA}.pgcoffer-new")
    assert add(machine).code != 0
    as_postgres(machine, f"rm -f {HBA}.pgcoffer-new; ln -s /etc/new-file {SETTINGS}/conf.d/pgcoffer.conf.new")
    assert add(machine).code != 0
    as_postgres(machine, f"rm -f {SETTINGS}/conf.d/pgcoffer.conf.new")

    # The cluster's folder is another one, or its settings say that root owns the data.
    as_postgres(machine, f"mv {SETTINGS} {SETTINGS}.real; ln -s {SETTINGS}.real {SETTINGS}")
    refuses(machine, "is not a folder, but a link")
    as_postgres(machine, f"rm {SETTINGS}; mv {SETTINGS}.real {SETTINGS}; cp -p {SETTINGS}/postgresql.conf /tmp/kept")
    as_postgres(machine, f"echo \"data_directory = '/root'\" >>{SETTINGS}/postgresql.conf")
    shown = add(machine, "--dry-run")
    assert shown.code != 0 or "restorers = postgres\n" in shown.out, shown
    as_postgres(machine, f"cp -p /tmp/kept {SETTINGS}/postgresql.conf")

    # The server names a file of root's.
    as_postgres(machine, f"echo \"hba_file = '/etc/victim'\" >{SETTINGS}/conf.d/trap.conf")
    machine.ok("pg_ctlcluster", "15", "main", "restart")
    refuses(machine, "\"/etc/victim\" is not a file of the user postgres")
    as_postgres(machine, f"rm {SETTINGS}/conf.d/trap.conf")
    machine.ok("pg_ctlcluster", "15", "main", "restart")
    assert (machine.ok("sha256sum", "/etc/victim"), machine.ok("ls", "-A", "/etc")) == before


def test_what_it_is_not_made_for_is_refused_before_anything_is_changed(machine):
    as_postgres(machine, f"echo \"listen_addresses = '192.0.2.1, 127.0.0.2'\" >{SETTINGS}/conf.d/other.conf")
    machine.ok("pg_ctlcluster", "15", "main", "restart")
    refuses(machine, "does not listen on localhost: listen_addresses = '192.0.2.1,127.0.0.2'")
    as_postgres(machine, f"rm {SETTINGS}/conf.d/other.conf")
    as_postgres(machine, "touch /var/lib/postgresql/15/main/standby.signal")
    machine.ok("pg_ctlcluster", "15", "main", "restart")
    refuses(machine, "is a standby, where no role can be made")
    as_postgres(machine, "rm /var/lib/postgresql/15/main/standby.signal")
    machine.ok("pg_ctlcluster", "15", "main", "restart")
    as_postgres(machine, f"mv {HBA} {HBA}.real; ln -s {HBA}.real {HBA}")
    refuses(machine, "is not a file of the user postgres")
    as_postgres(machine, f"rm {HBA}; mv {HBA}.real {HBA}")
    sql(machine, "CREATE ROLE repl")
    refuses(machine, 'has a role "repl" already')
    sql(machine, "DROP ROLE repl")
    alone = machine.run("flock", "/root", "pgcoffer-add-cluster", "15", "main")
    assert alone.code == 1 and "another pgcoffer-add-cluster runs" in alone.err, alone


def test_killed_at_every_step_the_next_run_takes_back_and_goes_on(machine):
    original = machine.ok("cat", HBA)
    machine.write("/usr/local/sbin/setsid", DEADLY, "0755")
    machine.ok("rm", "-f", "/root/steps")
    kills = taken_back = 0
    for last_step in range(1, 400):
        machine.write("/root/last-step", str(last_step))
        machine.ok("rm", "-f", "/root/steps")
        done = machine.run("sh", "-c", "echo $$ >/root/run; exec pgcoffer-add-cluster 15 main")
        taken_back += "taking back what a run before this one did" in done.err
        if done.code == 0:
            break
        assert done.code in (-9, 137), done
        kills += 1
        assert sql(machine, "SELECT 1") == "1"
        if kills == 30:  # somebody goes on working with it
            as_postgres(machine, f"echo '# a line of somebody else' >>{HBA}")
            original += "# a line of somebody else\n"
    else:
        pytest.fail("it never came to its end")
    assert kills > 30 and taken_back > 10, (kills, taken_back)
    lines = machine.ok("cat", HBA)
    assert lines.endswith(original) and lines.count("# For pgcoffer") == 1 and lines.count(" repl  ") == 6, lines
    assert machine.ok("cat", f"{HBA}.before-pgcoffer") == original
    assert machine.ok("sh", "-c", f"ls -d /root/*.unfinished {HBA}.pgcoffer-new 2>&1 | grep -vc 'No such file' || true").strip() == "0"
    machine.write("/usr/local/sbin/setsid", 'exec /usr/bin/setsid "$@"', "0755")
    assert "was added before" in add(machine).err
    machine.ok("systemctl", "start", "pgcofferd")
    machine.ok("pgcoffer", "backup", "main", "--fast-checkpoint", "--no-progress")


def test_a_second_cluster_on_a_port_of_its_own(machine):
    machine.ok("systemctl", "start", "pgcofferd")
    machine.ok("pg_createcluster", "15", "second", "--start")
    as_postgres(machine, "psql --cluster 15/second -Xqc 'ALTER DATABASE postgres RENAME TO other' template1")
    asked = machine.run("pgcoffer-add-cluster", "15", "second")
    assert asked.code == 1 and "the cluster 15 second cannot be asked" in asked.err and not machine.has("/root/pgcoffer-second"), asked
    as_postgres(machine, "psql --cluster 15/second -Xqc 'ALTER DATABASE other RENAME TO postgres' template1")
    assert "pgcoffer reload && pgcoffer backup second" in machine.ok("pgcoffer-add-cluster", "15", "second")
    assert "\nport = 5433\n" in machine.ok("cat", "/etc/pgcoffer/conf.d/second.conf")
    machine.ok("pgcoffer", "reload")
    machine.ok("pgcoffer", "backup", "second", "--fast-checkpoint", "--no-progress")
