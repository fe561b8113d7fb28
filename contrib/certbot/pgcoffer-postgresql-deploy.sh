#!/bin/bash
# Deploy hook for certbot: gives a renewed certificate and its key to PostgreSQL, as one, and reloads it.
#
# usage: RENEWED_LINEAGE=DIRECTORY pgcoffer-postgresql-deploy.sh --directory DIRECTORY --host NAME [OPTION]...
#
#   --directory DIRECTORY  where PostgreSQL finds the files, outside its data directory: ssl_cert_file is
#                          DIRECTORY/current/server.crt, ssl_key_file DIRECTORY/current/server.key
#   --host NAME            the name clients connect to: the certificate must be for it
#   --ca FILE              the root the certificate must lead to (default: the distribution's bundle)
#   --owner USER           OS user that runs PostgreSQL (default: postgres; another caller than root: the caller)
#   --role ROLE            superuser who may log in as that OS user through the socket (default: the OS user's name)
#   --socket DIRECTORY     of PostgreSQL's Unix socket (default: /var/run/postgresql)
#   --address ADDRESS      where the server is asked what it serves (default: localhost)
#   --port PORT            (default: 5432)
#   --timeout SECONDS      how long the server may take to serve it (default: 15)
#
# certbot sets RENEWED_LINEAGE. Exit status: 0 the certificate is served (or, the first time, ready to be configured);
# 1 it cannot be used, nothing was changed; 2 usage; 3 it is in its place, but the server is down or does not use it;
# 4 the server did not take it, the former one is back.
set -euo pipefail
umask 077
export LC_ALL=C

directory='' host='' ca='' owner='' role='' socket=/var/run/postgresql address=localhost port=5432 timeout=15
fresh=''

say() { printf 'pgcoffer-postgresql-deploy: %s\n' "$*"; }
end() {
    local status=$1
    shift
    say "$@" >&2
    exit "$status"
}
usage() { sed -n '/^# usage/,/^set/{s/^# \{0,1\}//p}' "$0"; }

while [ $# -gt 0 ]; do
    case $1 in
        --directory | --host | --ca | --owner | --role | --socket | --address | --port | --timeout)
            [ $# -ge 2 ] || end 2 "$1 needs a value"
            printf -v "${1#--}" %s "$2"
            shift 2
            ;;
        --help)
            usage
            exit 0
            ;;
        *) end 2 "what is \"$1\"? See --help" ;;
    esac
done
lineage=${RENEWED_LINEAGE:-}
if [ -z "$directory" ] || [ -z "$host" ]; then
    end 2 "--directory and --host are needed, see --help"
fi
[ -n "$lineage" ] || end 2 "RENEWED_LINEAGE is not set: certbot does that; by hand, give the folder in /etc/letsencrypt/live"
case $directory in /*) ;; *) end 2 "--directory must be an absolute path" ;; esac
if [ "$(id -u)" = 0 ]; then
    owner=${owner:-postgres}
else
    [ -z "$owner" ] || [ "$owner" = "$(id -un)" ] || end 2 "only root can give the files to $owner"
    owner=$(id -un)
fi
role=${role:-$owner}
case $address in *:*) address="[${address#[}" address="${address%]}]" ;; esac
cd /

# Through the socket, as the OS user of PostgreSQL: no password, and nothing of this travels.
sql() {
    local as=()
    [ "$(id -un)" = "$owner" ] || as=(runuser -u "$owner" --)
    "${as[@]}" psql -XwqAt -v ON_ERROR_STOP=1 -c "$1" \
        "host=$socket port=$port user=$role dbname=postgres connect_timeout=10" 9>&-
}

fingerprint() { openssl x509 -noout -fingerprint -sha256 2>/dev/null; }

# The leaf that new connections get; empty when there is none.
served() {
    timeout 10 openssl s_client -starttls postgres -connect "$address:$port" </dev/null 2>/dev/null | fingerprint || true
}

# The link is replaced by one rename: whoever opens current/server.crt finds the old pair or the new one, never a mixture.
switch_to() {
    ln -sfn "$1" "$directory/.current"
    mv -T "$directory/.current" "$directory/current"
    sync "$directory"
}

# Copies first and judges the copies, so what was judged is what will be served. install(1) makes a file 0600 before it
# writes the first byte, and gives it away after the last.
copy_pair() {
    local give=()
    [ "$(id -u)" != 0 ] || give=(-o "$owner" -g "$(id -gn "$owner")")
    fresh=$(mktemp -d "$directory/versions/$(date -u +%Y%m%dT%H%M%SZ)-XXXX")
    install "${give[@]}" -m 600 "$lineage/privkey.pem" "$fresh/server.key" || end 1 "could not copy \"$lineage/privkey.pem\""
    install "${give[@]}" -m 644 "$lineage/fullchain.pem" "$fresh/server.crt" || end 1 "could not copy \"$lineage/fullchain.pem\""
    chmod 755 "$fresh"
}

judge_pair() {
    local certificate=$fresh/server.crt key=$fresh/server.key of_certificate of_key trust=() name=(-verify_hostname "$host") words
    of_certificate=$(openssl x509 -noout -pubkey -in "$certificate" 2>/dev/null) ||
        end 1 "\"$lineage/fullchain.pem\" does not begin with a certificate"
    of_key=$(openssl pkey -passin pass: -pubout -in "$key" 2>/dev/null) ||
        end 1 "\"$lineage/privkey.pem\" is no private key, or has a passphrase that PostgreSQL could not ask for"
    [ "$of_certificate" = "$of_key" ] || end 1 "the key in \"$lineage\" does not belong to the certificate beside it"
    [ -z "$ca" ] || trust=(-CAfile "$ca" -no-CApath -no-CAstore)
    [[ ! $host =~ ^[0-9.]+$|: ]] || name=(-verify_ip "$host")
    words=$(openssl verify "${trust[@]}" "${name[@]}" -purpose sslserver -untrusted "$certificate" "$certificate" 2>&1) ||
        end 1 "the certificate in \"$lineage\" is not good for $host: $(sed -n 's/^error [0-9]* at .*lookup: *//p' <<<"$words" | head -1)"
}

remove_versions_but() {
    local version
    for version in "$directory"/versions/*; do
        case versions/${version##*/} in "$1" | "$2") ;; *) rm -rf "$version" ;; esac
    done
}

install -d -m 755 "$directory" "$directory/versions"
if [ ! -O "$directory" ] || [ ! -O "$directory/versions" ]; then
    end 1 "\"$directory\" belongs to somebody else, who could exchange what is written there"
fi
exec 9>"$directory/.lock"
flock -w 60 9 || end 1 "another one works on \"$directory\""
trap '[ -z "$fresh" ] || rm -rf "$fresh"' EXIT
trap 'exit 1' HUP INT TERM

copy_pair
judge_pair
wanted=$(fingerprint <"$fresh/server.crt")
former=$(readlink "$directory/current" || true)

# Asked before anything changes: a server that cannot be asked afterwards could not be judged either.
settings=$(sql "SELECT current_setting('ssl'), current_setting('ssl_cert_file'), current_setting('ssl_key_file')") || settings=down
in_use="on|$directory/current/server.crt|$directory/current/server.key"
if [ "$settings" = "$in_use" ] && [ -z "$(served)" ]; then
    end 1 "could not see what the server at $address:$port serves; give the address it listens on as --address and --port"
fi

if [ -n "$former" ] && cmp -s "$fresh/server.crt" "$directory/current/server.crt" &&
    cmp -s "$fresh/server.key" "$directory/current/server.key"; then
    rm -rf "$fresh"
    new=$former
    former=''
else
    sync "$fresh/server.crt" "$fresh/server.key" "$fresh" "$directory/versions"
    new=versions/${fresh##*/}
    switch_to "$new"
fi
fresh=''

if [ "$settings" = down ]; then
    end 3 "the certificate is in \"$directory/current\", but PostgreSQL could not be asked to load it; if it is configured for" \
        "$directory/current/server.crt and server.key, it will when it starts"
fi
if [ "$settings" != "$in_use" ]; then
    say "the certificate is in \"$directory/current\"; make PostgreSQL use it with these lines in postgresql.conf, and reload:"
    printf "ssl = on\nssl_cert_file = '%s'\nssl_key_file = '%s'\n" "$directory/current/server.crt" "$directory/current/server.key"
    [ -z "$former" ] || exit 3
    exit 0
fi

reload_and_wait() {
    local deadline=$((SECONDS + timeout))
    sql "SELECT pg_reload_conf()" >/dev/null || return 1
    until [ "$(served)" = "$1" ]; do
        [ $SECONDS -lt $deadline ] || return 1
        sleep 0.2
    done
}

if [ "$(served)" = "$wanted" ] || reload_and_wait "$wanted"; then
    remove_versions_but "$new" "${former:-$new}"
    say "PostgreSQL at $address:$port serves the certificate of \"$lineage\", valid until $(openssl x509 -noout -enddate -in "$directory/current/server.crt" | cut -d= -f2)"
    exit 0
fi
if [ -n "$former" ]; then
    switch_to "$former"
    sql "SELECT pg_reload_conf()" >/dev/null || true
    rm -rf "${directory:?}/$new"
    end 4 "PostgreSQL did not take the new certificate, its log says why; the former one is back in \"$directory/current\""
fi
end 4 "PostgreSQL does not serve the certificate in \"$directory/current\", its log says why; the next start may fail"
