# What only this machine knows: its packages and its transactions.
_backstep_names() {
    local -a names
    case $1 in
        (available) names=(${(f)"$(apt-cache --no-generate pkgnames $PREFIX 2>/dev/null)"}) ;;
        (installed) names=(${${(M)${(f)"$(dpkg-query --show --showformat '${db:Status-Status} ${Package}\n' 2>/dev/null)"}:#installed *}#installed }) ;;
        (transactions) names=(${${(f)"$(timeout 2 backstep history -n 50 2>/dev/null)"}[2,-1]%% *}) ;;
    esac
    compadd -a names
}

