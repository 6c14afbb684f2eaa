
# What only this machine knows: its packages and its transactions.
_backstep_names() {
    case "$1" in
        available) apt-cache --no-generate pkgnames "$2" ;;
        installed) dpkg-query --show --showformat '${db:Status-Status} ${Package}\n' "$2*" | sed -n 's/^installed //p' ;;
        transactions) timeout 2 backstep history -n 50 | sed '1d; s/ .*//' ;;
    esac 2>/dev/null
}

_backstep_with_names() {
    local word="${COMP_WORDS[COMP_CWORD]}" said="" names="" i
    _backstep "$@"
    [[ $word == [-./~]* ]] && return
    case "${COMP_WORDS[COMP_CWORD - 1]}" in
        @OPTIONS@) return ;;
    esac
    for ((i = 1; i < COMP_CWORD; i++)); do
        [[ ${COMP_WORDS[i]} == -* ]] || said+="${COMP_WORDS[i]} "
    done
    case "$said" in
@COMMANDS@
    esac
    [[ -z $names ]] || mapfile -t COMPREPLY < <(compgen -W "$(_backstep_names "$names" "$word")" -- "$word")
}

complete -F _backstep_with_names -o bashdefault -o default backstep
