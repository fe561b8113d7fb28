"""Machines of their own on one kernel: a network, a pid space, a view of files and an /etc for each, with a cable between them."""

import os
import select
import shutil
import subprocess

from .scratch import as_user, make_folder, run

BOOT = "echo up; read -r never"  # bash reaps what it inherits, and its end is the end of every process of the host
NAMESPACES = ("net", "mnt", "ipc", "pid_for_children")


def why_not():
    """What keeps this machine from having such hosts, or None."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for program in ("ip", "unshare", "nsenter"):
        if shutil.which(program) is None:
            return f"there is no {program} (packages iproute2 and util-linux)"
    done = run(["unshare", "--net", "--mount", "--ipc", "--pid", "--fork", "--mount-proc", "sh", "-ec",
                "mount -t tmpfs tmpfs /mnt; ip link set lo up; ip link add one type veth peer name two"], user="root", check=False)
    if done.returncode != 0:
        return f"this machine permits no namespaces with a network and mounts: {done.stderr.strip()}"
    return None


class Host:
    """Its own /etc, /run, /var/lib, /var/log and /root, programs in /usr/local/bin, and of the network the loopback; `folder` holds
    the /etc."""

    def __init__(self, folder, programs):
        self.folder = make_folder(folder, 0o755, "root")
        self.process = subprocess.Popen(
            ["unshare", "--net", "--mount", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-c", BOOT],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        assert select.select([self.process.stdout], [], [], 60)[0] and self.process.stdout.readline() == b"up\n", "no host"
        run(["cp", "-a", "/etc", self.folder / "etc"], user="root")
        self.sh(f"""
            mount --bind {self.folder}/etc /etc
            for place in /run /var/lib /var/log /root; do mount -t tmpfs -o mode=755 tmpfs $place; done
            mount --bind {programs} /usr/local/bin
            install -d -o postgres -g postgres -m 0755 /var/lib/postgresql
            ip link set lo up
        """)

    def command(self, command, user="root"):
        spaces = [f"--{name.split('_')[0].replace('mnt', 'mount')}=/proc/{self.process.pid}/ns/{name}" for name in NAMESPACES]
        return ["nsenter", *spaces, "--", *as_user(command, user)]

    def sh(self, script, user="root", check=True, timeout=120):
        """What somebody types who has just logged in as that user."""
        home = "/root" if user == "root" else "/var/lib/postgresql"
        done = subprocess.run(self.command(["bash", "-euo", "pipefail", "-c", f"cd ~; {script}"], user), capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=timeout,
                              env={"HOME": home, "USER": user, "PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8",
                                   **{name: os.environ[name] for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS") if name in os.environ}})
        assert not check or done.returncode == 0, f"{script}\nended with {done.returncode}\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}"
        return done

    def name(self, addresses):
        """Lines of /etc/hosts: {name: address}."""
        with open(self.folder / "etc" / "hosts", "a") as file:
            file.writelines(f"{address} {name}\n" for name, address in addresses.items())

    def close(self):
        self.process.stdin.close()
        self.process.wait(20)
        self.process.stdout.close()


def connect(one, address, other, other_address):
    """A cable from `one` to `other`: eth0 in both, in a network of 256 addresses, and nothing else of any network."""
    # Only into the network: the pid is one of ours.
    run(["nsenter", f"--net=/proc/{one.process.pid}/ns/net", "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0",
         "netns", other.process.pid], user="root")
    for host, own in ((one, address), (other, other_address)):
        host.sh(f"ip address add {own}/24 dev eth0; ip link set eth0 up")
