# Completion of pgcoffer for bash. What may follow is asked of `pgcoffer __complete`, which knows every command and option
# and asks the daemon for names; nothing that it answers is ever executed.

_pgcoffer()
{
    local program kind begun value rest word line i
    local -a typed answer

    COMPREPLY=()
    program=$(type -P -- "${1/#\~\//$HOME/}") || return 0

    # bash breaks words at "=" and ":" too: what no blank separates is one word.
    rest=${COMP_LINE:0:COMP_POINT}
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${rest#"${rest%%[![:blank:]]*}"}
        if ((i > 0)) && [[ -n $rest && $word == "$rest" ]]; then
            typed[-1]+=${rest:0:${#COMP_WORDS[i]}}
        else
            typed+=("${word:0:${#COMP_WORDS[i]}}")
        fi
        rest=${word:${#COMP_WORDS[i]}}
    done
    begun=${typed[-1]}

    mapfile -t answer < <("$program" __complete --quoted "${typed[@]:1}" 2>/dev/null)
    kind=${answer[0]-}
    value=$begun
    [[ $begun == --*=* ]] && value=${begun#*=}
    case $kind in
        files | folders)
            compopt -o filenames 2>/dev/null
            mapfile -t COMPREPLY < <(if [[ $kind == files ]]; then compgen -f -- "$value"; else compgen -d -- "$value"; fi)
            ;;
        users) mapfile -t COMPREPLY < <(compgen -u -- "$value") ;;
        hosts) mapfile -t COMPREPLY < <(compgen -A hostname -- "$value") ;;
        words)
            for line in "${answer[@]:1}"; do
                word=${line%%$'\t'*}
                if [[ $word == *[!A-Za-z0-9_./:=@%+,-]* ]]; then
                    [[ $begun == [\"\']* ]] && continue # within quotes there is no safe way to write it
                    printf -v word %q "$word"
                fi
                # Only what stands behind the last break is replaced.
                COMPREPLY+=("${word#"${begun%"$2"}"}")
            done
            ;;
    esac
}

complete -F _pgcoffer pgcoffer
