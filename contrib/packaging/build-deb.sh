#!/bin/bash
# Builds the Debian package and the package of its debugging information; installs what that needs (as root; anybody
# else is told). The same sources and version give the same bytes.
#
# usage: build-deb.sh [--version VERSION] [FOLDER]      default: the version of the sources, into build/package
set -euo pipefail
project="$(cd "$(dirname "$0")/../.." && pwd)"
version=()
if [ "${1:-}" = --version ]; then
    version=(-DPGCOFFER_VERSION="${2:?VERSION}")
    shift 2
fi
case "${1:-}" in
    -*) sed -n '2,/^set/{/^#/p}' "$0" >&2; exit 2 ;;
esac
folder="$(realpath -m "${1:-$project/build/package}")"

"$project/contrib/dev/install-packages.sh" package
# The time of every file in the package: that of the newest entry of the changelog.
SOURCE_DATE_EPOCH="$(date -d "$(sed -n '/^ -- /{s/.*>  //p;q}' "$project/contrib/packaging/debian/changelog")" +%s)"
export SOURCE_DATE_EPOCH
umask 022
cd "$project"
# The folders of sources and build are in no file name, wherever they are.
relative="$(realpath -m --relative-to="$folder" "$project")"
names="-ffile-prefix-map=$project=. -ffile-prefix-map=$folder=. -ffile-prefix-map=$relative=."
cmake --preset package -B "$folder" -DCMAKE_C_FLAGS="$names" "${version[@]}" >/dev/null
cmake --build "$folder" -- --quiet
cd "$folder"
rm -f ./pgcoffer_*.deb ./pgcoffer-dbgsym_*.ddeb
cpack -G DEB >cpack.log 2>&1 || { cat cpack.log >&2; exit 1; }
ls -1 "$folder"/pgcoffer_*.deb "$folder"/pgcoffer-dbgsym_*.ddeb
