# bash completion for mtls-agent                                        -*- shell-script -*-

_mtls_agent() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} words=
    COMPREPLY=()
    if [ "$previous" = --config ]; then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        return
    fi
    # The first word is a command; then come its options.
    local command=
    [ "$COMP_CWORD" -gt 1 ] && command=${COMP_WORDS[1]}
    case $command in
        # commands
        '') words="run once check status refresh reload uplink credentials config help version" ;;
        run) words="--config" ;;
        once) words="--config --json" ;;
        check) words="--config --json" ;;
        status) words="--config --json --metrics --watch" ;;
        refresh) words="--config" ;;
        reload) words="--config" ;;
        uplink) words="--config" ;;
        credentials) words="--config --json" ;;
        config) words="--template" ;;
        # end of commands
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}

complete -F _mtls_agent mtls-agent
