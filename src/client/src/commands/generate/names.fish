# What only this machine knows: its packages and its transactions.
function __fish_backstep_names
    switch $argv[1]
        case available
            apt-cache --no-generate pkgnames (commandline -ct) 2>/dev/null
        case installed
            dpkg-query --show --showformat '${db:Status-Status} ${Package}\n' 2>/dev/null | string replace -rf '^installed ' ''
        case transactions
            timeout 2 backstep history -n 50 2>/dev/null | string match -rg '^([0-9a-f]+) '
    end
end
