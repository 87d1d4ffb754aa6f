# shellcheck shell=bash
# Processes that outlive the script: started under $state, known by recorded ids, and ended by them only.

# What tells a process from a later one with the same id: its start time and the boot. Nothing for a dead one.
identity() {
    local stat field
    read -r stat 2>/dev/null <"/proc/$1/stat" || return 1
    # The name, in parentheses, may hold spaces; the state is the first field after it, the start time the 20th.
    read -ra field <<<"${stat##*) }"
    [ "${field[0]}" != Z ] && echo "${field[19]}@$(</proc/sys/kernel/random/boot_id)"
}

# Sets `pid` to the id of a component that runs.
running() {
    local recorded
    pid=''
    [ -f "$state/run/$1" ] && read -r pid recorded <"$state/run/$1" || return 1
    [ "$(identity "$pid")" = "$recorded" ]
}

# Starts a component unless it runs with this very command already.
start() {
    local name=$1 command pid
    shift
    command=$(printf '%q ' "$@")
    if running "$name"; then
        if [ "$(<"$state/run/$name.command")" = "$command" ]; then return; fi
        stop "$name"
    fi
    mkdir -p "$state/run" "$state/log"
    setsid "$@" >>"$state/log/$name.log" 2>&1 </dev/null 9>&- &
    pid=$!
    printf '%s\n' "$command" >"$state/run/$name.command"
    echo "$pid $(identity "$pid")" >"$state/run/$name"
    started+=("$name")
}

# Ends a component by a signal (TERM unless another is named), and after 20 s by force.
stop() {
    local name=$1 signal=${2:-TERM} pid until=$((SECONDS + 20))
    if running "$name"; then kill -s "$signal" "$pid" 2>/dev/null || true; fi
    while running "$name"; do
        [ "$SECONDS" -lt "$until" ] || kill -s KILL "$pid" 2>/dev/null || true
        sleep 0.05
    done
    rm -f "$state/run/$name" "$state/run/$name.command"
}

# Waits until a command succeeds. Ends the script with the end of the component's log if the component dies or
# the time is up.
wait_for() {
    local limit=$1 name=$2 until=$((SECONDS + $1)) pid
    shift 2
    until "$@" >/dev/null 2>&1; do
        running "$name" || component_failed "$name" "ended"
        [ "$SECONDS" -lt "$until" ] || component_failed "$name" "is not ready after $limit s ($*)"
        sleep 0.1
    done
}

component_failed() {
    say "the end of $state/log/$1.log:"
    tail -n 25 "$state/log/$1.log" | cut -c 1-400 >&2 || true
    fail "$1 $2; the end of its log is above. \"$0 up\" tries again, \"$0 down\" starts from nothing"
}

# A free port on loopback that no other call returns: below the ports that the kernel and NodePorts take.
free_port() {
    local port
    while :; do
        port=$((20000 + RANDOM % 10000))
        case " ${ports_given:-} " in *" $port "*) continue ;; esac
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && continue
        ports_given="${ports_given:-} $port"
        free_port=$port
        return
    done
}
