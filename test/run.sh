#!/bin/bash
# Installs what is missing, builds, and runs the tests. Alone sufficient on a bare Debian 12 as root.
#
# usage: test/run.sh [short|long|all]     default: short
#
# short  unit and system tests on PostgreSQL 15, one backup and restore each on 13 and 18, under ASan+UBSan; unit tests,
#        the main job and what is measured by the clock in the plain build as well, the tutorials there only; 10 s a fuzz target
# long   the full counts of what the project promises, and PostgreSQL 13 to 18
#
# Other versions than 15 come from the npm registry. Where it cannot be reached their tests are skipped, and that is
# said; with PGCOFFER_REQUIRE_VERSIONS=yes it is an error. With PGCOFFER_TEST_TRIES=2, on a machine that is shared with
# others, a test that failed is run a second time; both runs stand in the output.
set -euo pipefail
cd "$(dirname "$0")/.."

case "${1:-short}" in
    short) labels=(-L short) versions="13 18" packages=test ;;
    long) labels=(-L long) versions="13 14 16 17 18" packages=long ;;
    all) labels=() versions="13 14 16 17 18" packages=long ;;
    *) sed -n '2,/^set/{/^#/p}' "$0" >&2; exit 2 ;;
esac

contrib/dev/install-packages.sh "$packages"
# shellcheck disable=SC2086 # a flag or nothing, and a list of numbers
/usr/bin/python3 test/support/fetch-postgres.py ${PGCOFFER_REQUIRE_VERSIONS:+--require} build/postgres $versions

for preset in release asan fuzz; do
    echo "building $preset"
    cmake --preset "$preset" -DWERROR=ON >/dev/null
    cmake --build --preset "$preset" -- --quiet
done

# One ctest over the three trees: the tests of each name their tree.
mkdir -p build/everything
printf 'subdirs("../release" "../asan" "../fuzz")\n' >build/everything/CTestTestfile.cmake
# One more than cores: the system tests wait for servers much of their time.
# shellcheck disable=SC2086 # two words or nothing
exec ctest --test-dir build/everything -j "$(($(nproc) + 1))" --output-on-failure \
    ${PGCOFFER_TEST_TRIES:+--repeat until-pass:$PGCOFFER_TEST_TRIES} "${labels[@]}"
