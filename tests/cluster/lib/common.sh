# shellcheck shell=bash
# What every script here starts with: where things are, how it speaks, and one run at a time.

# The script that sources this sets `here`, the folder tests/cluster.
root=$(cd "$here/../.." && pwd)
cache=${IMAGEBATCH_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/imagebatch}

say() { printf '%s\n' "$*" >&2; }
fail() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

need() {
    local tool
    for tool in "$@"; do
        command -v "$tool" >/dev/null || fail "\"$tool\" is needed and not installed"
    done
}

# Seconds since a moment that `now` gave, for people.
now() { date +%s.%N | sed 's/N$/0/'; }
since() { awk -v a="$1" -v b="$(now)" 'BEGIN { printf "%.1f s", b - a }'; }

# One run at a time for each subject; a second one waits. The descriptor 9 is closed for what runs on.
lock() {
    mkdir -p "$cache"
    exec 9>"$cache/$1.lock"
    if ! flock --nonblock 9; then
        say "waiting for another run of ${0##*/} to end"
        flock 9
    fi
}

# A short name for the content of files and further words: the same input, the same name.
fingerprint() {
    local item
    for item in "$@"; do
        if [ -f "$item" ]; then sha256sum <"$item"; else printf '%s\n' "$item"; fi
    done | sha256sum | cut -c 1-16
}

choose_cluster() {
    if [ -z "${CLUSTER:-}" ]; then
        if command -v docker >/dev/null && docker info >/dev/null 2>&1; then CLUSTER=kind; else CLUSTER=local; fi
    fi
    case $CLUSTER in
    local | kind | current) ;;
    *) fail "CLUSTER is \"$CLUSTER\"; it may be local, kind or current" ;;
    esac
}

# Does something to a container's processes: CTR is the command that speaks to the node's runtime.
runtime_task() { # CTR kill|pause|resume CONTAINER
    case $2 in
    kill) "$1" tasks kill --signal SIGKILL "$3" ;;
    pause | resume) "$1" tasks "$2" "$3" ;;
    *) fail "\"$2\" is nothing that is done to a container" ;;
    esac
}
