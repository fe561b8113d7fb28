#!/bin/bash
# Proves that each of the README's two commands is alone sufficient on a bare Debian 12, the second time too: in a fresh
# debootstrap root each, on a clone of the last commit. Root; needs debootstrap and a mirror; takes an hour or so.
#
# usage: test/system/bare.sh [FOLDER] [demo|test]...      default: a new folder in /tmp, both commands
set -euo pipefail
cd "$(dirname "$0")/../.."
[ "$(id -u)" = 0 ] || { echo "only root can make a Debian root" >&2; exit 1; }
command -v debootstrap >/dev/null || apt-get install -y -qq debootstrap >/dev/null

folder="${1:-$(mktemp -d /tmp/pgcoffer-bare-XXXXXX)}"
shift || true
commands=("$@")
[ ${#commands[@]} -gt 0 ] || commands=(demo test)
mkdir -p "$folder"

release() {
    for place in dev/shm dev proc; do
        ! mountpoint -q "$root/$place" || umount -l "$root/$place"
    done
}
trap 'release' EXIT

for what in "${commands[@]}"; do
    root="$folder/$what"
    [ -e "$root/etc/debian_version" ] || debootstrap --variant=minbase bookworm "$root" >"$folder/debootstrap-$what.log"
    rm -rf "$root/root/pgcoffer"
    git clone -q . "$root/root/pgcoffer"
    cp /etc/resolv.conf "$root/etc/resolv.conf"
    # A machine behind a proxy with a CA of its own hands that CA on: npm would refuse the proxy.
    authorities=()
    if compgen -G '/usr/local/share/ca-certificates/*.crt' >/dev/null; then
        cat /usr/local/share/ca-certificates/*.crt >"$root/root/machine-authorities.pem"
        authorities=(NODE_EXTRA_CA_CERTS=/root/machine-authorities.pem)
    fi
    mount -t proc proc "$root/proc"
    mount --bind /dev "$root/dev"
    mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
    case "$what" in
        demo) command=./contrib/demo/demo.sh ;;
        test) command=./test/run.sh ;;
        *) echo "no such command: $what" >&2; exit 2 ;;
    esac
    for round in first second; do
        echo "$what, $round time: $command"
        started=$SECONDS
        env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 "${authorities[@]}" \
            chroot "$root" bash -c "cd /root/pgcoffer && $command" >"$folder/$what-$round.log" 2>&1 ||
            { status=$?; tail -n 40 "$folder/$what-$round.log" >&2; echo "$what, $round time: exit $status" >&2; exit 1; }
        tail -n 5 "$folder/$what-$round.log"
        echo "$what, $round time: exit 0 after $((SECONDS - started)) s"
    done
    release
done
echo "logs: $folder"
