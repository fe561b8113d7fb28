#!/bin/bash
# The main job in one go, on a throw-away PostgreSQL with TLS and a client certificate: base backup, rows written
# afterwards, restore, restored server started, rows counted. Alone sufficient on a bare Debian 12 as root.
#
# usage: demo.sh [--keep]      --keep leaves both servers and the daemon running and says how to stop them
set -euo pipefail
project="$(cd "$(dirname "$0")/../.." && pwd)"
keep=no
case "${1:-}" in
    "") ;;
    --keep) keep=yes ;;
    *) sed -n '2,/^set/{/^#/p}' "$0" >&2; exit 2 ;;
esac

bold='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    bold=$'\033[1m' plain=$'\033[0m'
fi
say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }

"$project/contrib/dev/install-packages.sh" demo
if [ ! -x "$project/build/release/bin/pgcofferd" ] || [ ! -x "$project/build/release/bin/pgcoffer" ]; then
    say "Building pgcoffer"
    (cd "$project" && cmake --preset release >/dev/null && cmake --build --preset release --target pgcoffer pgcofferd -- --quiet)
fi

work="$(mktemp -d /tmp/pgcoffer-demo-XXXXXX)"
chmod 755 "$work"
postgres=/usr/lib/postgresql/15/bin
port=$((20000 + $$ % 20000))
restored_port=$((port + 1))
if [ "$(id -u)" = 0 ]; then
    owner=postgres
    become=(setpriv --reuid=postgres --regid=postgres --init-groups --)
else
    owner="$(id -un)"
    become=()
fi
as() { "${become[@]}" "$@"; }
daemon=

finish() {
    status=$?
    set +e
    if [ $status -ne 0 ]; then
        printf '\nThe demo failed. The last lines of its logs in %s:\n' "$work" >&2
        tail -n 15 "$work"/*.log >&2
    fi
    if [ $keep = yes ] && [ $status -eq 0 ]; then
        return
    fi
    [ -z "$daemon" ] || { kill "$daemon" 2>/dev/null; wait "$daemon" 2>/dev/null; }
    for data in restored server; do
        [ ! -e "$work/$data/postmaster.pid" ] || as "$postgres/pg_ctl" -s -D "$work/$data" -m immediate stop
    done
    [ $status -ne 0 ] || rm -rf "$work"
}
trap finish EXIT

say "1. Certificates: one CA for servers, one for clients, CN=repl for the agent"
mkdir "$work/tls"
cd "$work/tls"
authority() { # name
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=demo $1 CA" \
        -addext keyUsage=critical,keyCertSign,cRLSign -keyout "$1-ca.key" -out "$1-ca.crt" 2>/dev/null
}
certificate() { # authority, name, common name, extensions
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$3" -keyout "$2.key" -out "$2.csr" 2>/dev/null
    openssl x509 -req -in "$2.csr" -CA "$1-ca.crt" -CAkey "$1-ca.key" -CAcreateserial -days 30 -out "$2.crt" \
        -extfile <(printf '%b' "$4") 2>/dev/null
}
authority server
authority client
certificate server server localhost 'subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth'
certificate client repl repl 'extendedKeyUsage=clientAuth'
chmod 600 ./*.key
mkdir "$work/run" "$work/repository"
chown -R "$owner" "$work"
openssl x509 -in repl.crt -noout -subject -issuer -enddate

say "2. A throw-away PostgreSQL that takes replication only with a client certificate"
as "$postgres/initdb" -D "$work/server" -U postgres -A trust -k --no-locale -E UTF8 >/dev/null
cat >>"$work/server/postgresql.conf" <<END
listen_addresses = 'localhost'
port = $port
unix_socket_directories = '$work/run'
ssl = on
ssl_cert_file = '$work/tls/server.crt'
ssl_key_file = '$work/tls/server.key'
ssl_ca_file = '$work/tls/client-ca.crt'
END
cat >"$work/server/pg_hba.conf" <<END
local   all          postgres                trust
hostssl replication  repl      127.0.0.1/32  cert
hostssl replication  repl      ::1/128       cert
END
as "$postgres/pg_ctl" -s -w -D "$work/server" -l "$work/server.log" start
sql() { as psql -X -q -At -h "$work/run" -p "$1" -U postgres -d postgres -c "$2"; }
sql "$port" "CREATE ROLE repl LOGIN REPLICATION"
sql "$port" "CREATE TABLE visits AS SELECT n, now() AS at FROM generate_series(1, 100000) AS n"
cat "$work/server/pg_hba.conf"

say "3. The agent"
cat >"$work/pgcoffer.conf" <<END
[pgcoffer]
base_dir = $work/repository
unix_socket_dir = $work/run

[primary]
host = localhost
port = $port
user = repl
tls_cert_file = $work/tls/repl.crt
tls_key_file = $work/tls/repl.key
tls_ca_file = $work/tls/server-ca.crt
END
cat "$work/pgcoffer.conf"
install -m 755 "$project/build/release/bin/pgcoffer" "$project/build/release/bin/pgcofferd" "$work/"
pgcoffer() { as "$work/pgcoffer" -c "$work/pgcoffer.conf" "$@"; }
# Not by as(): a shell would stand between, and a kill would end only that.
"${become[@]}" "$work/pgcofferd" -c "$work/pgcoffer.conf" </dev/null >"$work/pgcofferd.log" 2>&1 &
daemon=$!
await() { # what, seconds, command
    local what="$1" tries=$(($2 * 20))
    shift 2
    until "$@"; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || { echo "after a while still not: $what" >&2; exit 1; }
        sleep 0.05
    done
}
await "the daemon answers" 10 pgcoffer ping --quiet 2>/dev/null

say "4. A base backup"
pgcoffer backup primary --fast-checkpoint --label demo
pgcoffer list primary
sql "$port" "SELECT 'TLS of the WAL stream: ' || s.version || ', client DN ' || s.client_dn
             FROM pg_stat_ssl s JOIN pg_stat_replication r USING (pid) WHERE r.application_name = 'pgcoffer'"

say "5. Rows written after the backup; then the server is lost"
sql "$port" "INSERT INTO visits SELECT n, now() FROM generate_series(100001, 123456) AS n"
written="$(sql "$port" "SELECT count(*) FROM visits")"
end="$(sql "$port" "SELECT pg_current_wal_flush_lsn()")"
flushed() { [ "$(sql "$port" "SELECT flush_lsn >= '$end' FROM pg_stat_replication WHERE application_name = 'pgcoffer'")" = t ]; }
await "the WAL is with the agent" 10 flushed
as "$postgres/pg_ctl" -s -D "$work/server" -m immediate stop
echo "$written rows; the last of them lie in a WAL segment that is not finished"

say "6. Restore, start, count"
pgcoffer restore primary --target-directory "$work/restored"
as "$postgres/pg_ctl" -s -w -D "$work/restored" -l "$work/restored.log" -o "-p $restored_port" start
recovered() { [ "$(sql "$restored_port" "SELECT pg_is_in_recovery()" 2>/dev/null)" = f ]; }
await "the restored server is open" 30 recovered
counted="$(sql "$restored_port" "SELECT count(*) FROM visits")"
echo "rows before the loss: $written, rows restored: $counted"
[ "$counted" = "$written" ] || { echo "rows are missing" >&2; exit 1; }

say "Every row came back."
if [ $keep = yes ]; then
    cat <<END
Everything lies in $work:
  pgcoffer.conf, repository/, pgcofferd.log     the agent (pid $daemon)
  server/, server.log                           the lost server (stopped; port $port)
  restored/, restored.log                       the restored server (running; port $restored_port)
Try:   $work/pgcoffer -c $work/pgcoffer.conf list primary
       psql -h $work/run -p $restored_port -U postgres postgres
Stop:  kill $daemon; $postgres/pg_ctl -D $work/restored stop; rm -r $work     (as $owner)
END
else
    echo "It lay in $work and is removed now; --keep leaves it running."
fi
