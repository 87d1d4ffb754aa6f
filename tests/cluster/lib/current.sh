# shellcheck shell=bash
# CLUSTER=current: somebody's cluster, which is not ours to start, to change or to end.

current_up() {
    need kubectl
    kubectl get --raw /readyz >/dev/null ||
        fail "the cluster of the current context, \"$(kubectl config current-context)\", does not answer"
    say "the cluster of the current context, \"$(kubectl config current-context)\", is used as it is; nothing was installed"
}

current_load() {
    say "images are not loaded into the nodes of the current context's cluster: push them to a registry that it pulls from"
}

current_env() { :; }

current_down() {
    say "the cluster of the current context is not ended; remove what was installed into it with helm and kubectl"
}

current_task() { fail "the nodes of the current context's cluster are not ours to disturb"; }

current_kubelet() { current_task; }
