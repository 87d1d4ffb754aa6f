# shellcheck shell=bash
# CLUSTER=local: what each command does on a node of this machine.

# The tools of the node, by module.
local_tools=(
    "kubernetes ${kubernetes_tools[*]}"
    "etcd etcd"
    "addons helm coredns local-path-provisioner pause"
)

local_announce() { # PACKAGES...
    local entry missing=()
    for entry in "${local_tools[@]}"; do
        # shellcheck disable=SC2086 # a module and its tools
        mapfile -t -O "${#missing[@]}" missing < <(tools_missing $entry)
    done
    [ $# -eq 0 ] && [ "${#missing[@]}" -eq 0 ] && [ -f "$state/node" ] && return
    say "A Kubernetes node on this machine, for tests. This will"
    [ $# -eq 0 ] || say "  - install the Debian packages $*"
    [ "${#missing[@]}" -eq 0 ] || {
        say "  - build ${missing[*]}"
        say "    from Go modules with fixed checksums into $cache/tools (once; up to 15 minutes on 2 cores)"
    }
    say "  - start etcd, the Kubernetes control plane, containerd, kubelet and kube-proxy as root, with all their"
    say "    files in $state; set net.ipv4.ip_forward; add the bridge $bridge and iptables rules"
    say "\"CLUSTER=local $0 down\" takes all of it away, apart from the packages and $cache."
}

local_up() {
    local entry from packages
    from=$(now)
    lock cluster
    need_go
    mapfile -t packages < <(packages_missing)
    local_announce "${packages[@]}"
    install_packages "${packages[@]}"
    check_machine
    find_api_address
    for entry in "${local_tools[@]}"; do
        # shellcheck disable=SC2086 # a module and its tools
        build_tools $entry
    done
    if [ -f "$state/node" ] && [ "$(<"$state/node")" != "$(node_identity)" ]; then
        say "the machine or its address is another since the node was started; it is made anew"
        node_down
    fi
    prepare_machine
    start_api_server
    start_containerd
    system_images
    start_controllers
    start_node
    start_addons
    {
        echo "export KUBECONFIG=$(printf %q "$state/admin.kubeconfig")"
        echo "export IMAGEBATCH_AUDIT_LOG=$(printf %q "$state/log/audit.log")"
        echo "export PATH=$(printf %q "$(tools_path kubernetes addons)"):\$PATH"
    } >"$state/env"
    if [ "${#started[@]}" -gt 0 ]; then say "started ${started[*]}"; fi
    say "the node \"$node\" is ready after $(since "$from"): eval \"\$(CLUSTER=local $0 env)\""
}

# The images that the cluster itself needs, kept in the cache.
system_images() {
    local folder=$cache/images unprivileged busybox
    busybox=$(busybox_binary)
    unprivileged='"User":"65532:65532","WorkingDir":"/"'
    image "$folder/pause.tar" localhost/pause:dev "$(tool_folder addons)" fill_pause \
        "{$unprivileged,\"Entrypoint\":[\"/pause\"]}"
    image "$folder/busybox.tar" localhost/busybox:dev "$busybox" fill_busybox \
        '{"Env":["PATH=/bin"],"Cmd":["sh"],"WorkingDir":"/"}'
    image "$folder/coredns.tar" localhost/coredns:dev "$(tool_folder addons)" fill_coredns \
        "{$unprivileged,\"Entrypoint\":[\"/coredns\"]}"
    image "$folder/local-path-provisioner.tar" localhost/local-path-provisioner:dev \
        "$(tool_folder addons)" fill_local_path_provisioner \
        "{$unprivileged,\"Entrypoint\":[\"/local-path-provisioner\"]}"
    load_archives "$folder"
}

# Imports a folder's archives, but for those that the node has as they are.
load_archives() {
    local reference image digest present
    present=$(ctr_k8s images ls | awk '{ print $1, $3 }')
    for reference in "$1"/*.ref; do
        [ -f "$reference" ] || continue
        read -r image digest <"$reference"
        if grep -qxF "$image $digest" <<<"$present"; then continue; fi
        ctr_k8s images import "${reference%.ref}.tar" >"$state/log/import.log" 2>&1 || {
            cat "$state/log/import.log" >&2
            fail "the image archive ${reference%.ref}.tar cannot be imported"
        }
        say "  loaded $image"
    done
}

local_load() {
    lock cluster
    running containerd || fail "the node is not up: CLUSTER=local $0 up"
    compgen -G "$root/target/images/*.ref" >/dev/null || fail "there are no images in target/images: tests/cluster/images"
    load_archives "$root/target/images"
}

local_env() {
    [ -f "$state/env" ] || fail "the node is not up: CLUSTER=local $0 up"
    cat "$state/env"
}

local_task() { # kill|pause|resume CONTAINER
    runtime_task ctr_k8s "$@"
}

local_kubelet() { # stop|start
    lock cluster
    find_api_address
    case $1 in
    stop) stop kubelet ;;
    start) start_node ;;
    esac
}

local_down() {
    lock cluster
    node_down
}
