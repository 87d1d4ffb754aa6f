# shellcheck shell=bash
# CLUSTER=kind: a cluster in Docker. kind, kubectl and helm are taken from the machine or built.

kind_cluster=imagebatch
kind_kubeconfig=$cache/kind/kubeconfig
kind_images=(localhost/imagebatch:dev localhost/imagebatch-origin:dev)

# The tools that the machine does not have, each with its module.
kind_tools() {
    local entry
    for entry in "kind kind" "kubernetes kubectl" "addons helm"; do
        command -v "${entry#* }" >/dev/null || echo "$entry"
    done
}

kind_path() {
    local modules
    mapfile -t modules < <(kind_tools | cut -d ' ' -f 1)
    [ "${#modules[@]}" -eq 0 ] || tools_path "${modules[@]}"
}

kind_exists() { kind get clusters 2>/dev/null | grep -qx "$kind_cluster"; }

kind_ready() { kubectl --kubeconfig "$kind_kubeconfig" get --raw /readyz >/dev/null 2>&1; }

kind_use_tools() {
    local path
    path=$(kind_path)
    PATH=${path:+$path:}$PATH
}

kind_up() {
    local entry missing until
    lock cluster
    need docker
    docker info >/dev/null 2>&1 || fail "Docker does not answer: start it, or let this user use it (\"docker info\" says more)"
    mapfile -t missing < <(kind_tools)
    kind_use_tools
    if ! { command -v kind && kind_exists; } >/dev/null; then
        say "A Kubernetes cluster in Docker, for tests. This will"
        [ "${#missing[@]}" -eq 0 ] ||
            say "  - build ${missing[*]#* } from Go modules with fixed checksums into $cache/tools (once)"
        say "  - pull kind's node image and start it as the container $kind_cluster-control-plane, port 8080 of this machine"
        say "\"CLUSTER=kind $0 down\" takes the container away."
    fi
    [ "${#missing[@]}" -eq 0 ] || need_go
    for entry in "${missing[@]}"; do
        # shellcheck disable=SC2086 # a module and its tools
        build_tools $entry
    done
    mkdir -p "${kind_kubeconfig%/*}"
    if kind_exists; then
        # It stands still after the machine was restarted.
        docker start "$kind_cluster-control-plane" >/dev/null
        kind export kubeconfig --quiet --name "$kind_cluster" --kubeconfig "$kind_kubeconfig"
    else
        kind create cluster --config "$here/config/kind.yaml" --kubeconfig "$kind_kubeconfig" --wait 180s
    fi
    until=$((SECONDS + 120))
    until kind_ready; do
        [ "$SECONDS" -lt "$until" ] || fail "the cluster does not answer; \"docker logs $kind_cluster-control-plane\" says more"
        sleep 0.2
    done
    kubectl --kubeconfig "$kind_kubeconfig" wait --for=condition=Ready nodes --all --timeout=120s >/dev/null
    kubectl --kubeconfig "$kind_kubeconfig" -n kube-system rollout status deployment/coredns --timeout=120s >/dev/null
    say "the cluster is ready: eval \"\$(CLUSTER=kind $0 env)\""
}

kind_load() {
    local image
    kind_use_tools
    need docker kind
    for image in "${kind_images[@]}"; do
        docker image inspect "$image" >/dev/null 2>&1 || fail "the image $image is not built: CLUSTER=kind tests/cluster/images"
    done
    # It passes over images that the node has.
    kind load docker-image --name "$kind_cluster" "${kind_images[@]}"
}

kind_env() {
    local path
    path=$(kind_path)
    echo "export KUBECONFIG=$(printf %q "$kind_kubeconfig")"
    [ -z "$path" ] || echo "export PATH=$(printf %q "$path"):\$PATH"
}

kind_down() {
    lock cluster
    kind_use_tools
    if ! command -v kind >/dev/null; then
        say "there is no kind, and so no cluster of it"
        return
    fi
    need docker
    if kind_exists; then kind delete cluster --name "$kind_cluster" --kubeconfig "$kind_kubeconfig"; fi
    rm -f "$kind_kubeconfig"
}

kind_ctr() { docker exec "$kind_cluster-control-plane" ctr --namespace k8s.io "$@"; }

kind_task() { # kill|pause|resume CONTAINER
    runtime_task kind_ctr "$@"
}

kind_kubelet() { # stop|start
    docker exec "$kind_cluster-control-plane" systemctl "$1" kubelet
}
