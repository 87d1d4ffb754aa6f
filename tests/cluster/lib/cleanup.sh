# shellcheck shell=bash
# Takes the node away again and proves that nothing of it is left.

# Ends the containers: by containerd as long as it answers, then whatever is left in the pods' control groups and
# the shims that name this node's containerd.
end_containers() {
    local ids pids pid until=$((SECONDS + 20))
    if running containerd; then
        mapfile -t ids < <(ctr_k8s tasks ls -q 2>/dev/null)
        [ "${#ids[@]}" -eq 0 ] || ctr_k8s tasks delete --force "${ids[@]}" >>"$state/log/down.log" 2>&1 || true
    fi
    stop containerd
    while mapfile -t pids < <(container_processes) && [ "${#pids[@]}" -gt 0 ]; do
        for pid in "${pids[@]}"; do kill -s KILL "$pid" 2>/dev/null || true; done
        [ "$SECONDS" -lt "$until" ] || fail "processes of pods do not end: ${pids[*]}"
        sleep 0.1
    done
}

# The node's shims, by the address in their arguments, and what runs in the control groups of pods.
container_processes() {
    local groups
    # The bracket keeps grep from finding itself.
    LC_ALL=C grep -als "[c]ontainerd-shim.*-address.$state/" /proc/[0-9]*/cmdline | tr -cd '0-9\n' || true
    mapfile -t groups < <(pod_cgroups)
    [ "${#groups[@]}" -eq 0 ] || find "${groups[@]}" -name cgroup.procs -exec cat {} + 2>/dev/null | sort -u
}

mounts_below_state() { awk -v below="$state/" 'index($2, below) == 1 { print $2 }' /proc/self/mounts | tac; }

unmount_all() {
    local mount
    for mount in $(mounts_below_state); do
        umount "$mount" 2>/dev/null || umount --lazy "$mount" || true
    done
}

# The names of the chains that kubelet and kube-proxy made, and of those of this node's pods: the bridge plugin
# notes the network in the rules of each.
own_chains() { # iptables-save's output
    awk '/^:KUBE-/ { print substr($1, 2) }' <<<"$1"
    grep -- '--comment "name: \\"imagebatch\\"' <<<"$1" | grep -o 'CNI-[0-9a-f]*' | sort -u || true
}

# Writes what iptables-restore needs to take those chains away.
chains_removal() { # PROGRAM
    local table rules chain chains
    for table in raw mangle nat filter; do
        rules=$("$1-save" -t "$table" 2>/dev/null) || continue
        mapfile -t chains < <(own_chains "$rules")
        [ "${#chains[@]}" -gt 0 ] || continue
        echo "*$table"
        # First the rules that lead into them, then their own, then the chains.
        for chain in "${chains[@]}"; do
            grep -E -- "^-A .* -[jg] $chain( |\$)" <<<"$rules" | grep -vE '^-A (KUBE|CNI)-' | sed 's/^-A/-D/' || true
        done
        printf -- '-F %s\n' "${chains[@]}"
        printf -- '-X %s\n' "${chains[@]}"
        echo COMMIT
    done
}

# The host's ends of the pods' links: those of the bridge, and those that an earlier attempt noted.
pod_links() {
    {
        ip -o link show master "$bridge" 2>/dev/null | awk -F '[:@ ]+' '{ print $2 }' || true
        [ ! -f "$state/links" ] || cat "$state/links"
    } | sort -u | while read -r link; do ! ip link show "$link" >/dev/null 2>&1 || echo "$link"; done
}

remove_network() {
    local program removal link
    for program in iptables ip6tables; do
        command -v "$program-save" >/dev/null || continue
        removal=$(chains_removal "$program")
        [ -z "$removal" ] || "$program-restore" --noflush <<<"$removal" || true
    done
    # The pods' links go with their network namespaces, unless something holds one of these open.
    pod_links >"$state/links.new"
    mv "$state/links.new" "$state/links"
    ! ip link show "$bridge" >/dev/null 2>&1 || ip link delete "$bridge"
    while read -r link; do ip link delete "$link" 2>/dev/null || true; done <"$state/links"
    # Results that the plugins cache in a place of their own choice name the pod's network, which lay in $state.
    grep -lsF "$state/" /var/lib/cni/results/* | xargs -r rm -f
}

restore_machine() {
    local folder link groups until=$((SECONDS + 10))
    # A group is busy until the kernel is done with the last of its processes.
    while mapfile -t groups < <(pod_cgroups) && [ "${#groups[@]}" -gt 0 ] && [ "$SECONDS" -lt "$until" ]; do
        find "${groups[@]}" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.1
    done
    if [ -f "$state/sysctl" ]; then sysctl -q -p "$state/sysctl" >/dev/null 2>&1 || true; fi
    for link in /var/log/containers/*.log; do
        case $(readlink "$link" 2>/dev/null) in "$state"/*) rm -f "$link" ;; esac
    done
    # The shims' sockets, if nobody listens to them any more.
    for link in /run/containerd/s/*; do
        grep -qF " $link" /proc/net/unix || rm -f "$link"
    done
    # Folders of other programs that were not there before. What others put in since stays.
    if [ -f "$state/outside" ]; then
        while read -r folder; do
            rm -f "$folder/device-plugins/kubelet.sock" "$folder/device-plugins/kubelet_internal_checkpoint" \
                "$folder/device-plugins/DEPRECATION"
            [ ! -d "$folder" ] || find "$folder" -depth -type d -empty -delete
        done <"$state/outside"
    fi
}

# Fails loudly if anything is left.
verify_gone() {
    local left='' program
    [ -z "$(mounts_below_state)" ] || left="$left; mounts: $(mounts_below_state | tr '\n' ' ')"
    ! ip link show "$bridge" >/dev/null 2>&1 || left="$left; the bridge $bridge"
    for program in iptables ip6tables; do
        command -v "$program-save" >/dev/null || continue
        [ -z "$(own_chains "$("$program-save" 2>/dev/null)")" ] || left="$left; $program chains"
    done
    [ -z "$(pod_links)" ] || left="$left; links: $(pod_links | tr '\n' ' ')"
    [ -z "$(pod_cgroups)" ] || left="$left; control groups: $(pod_cgroups | tr '\n' ' ')"
    [ -z "$(container_processes)" ] || left="$left; processes: $(container_processes | tr '\n' ' ')"
    [ -z "$left" ] || fail "the node could not be taken away completely. Left over:${left#;}." \
        "Its state is still in $state; run \"$0 down\" again, or restart the machine"
}

node_down() {
    local name
    if [ ! -d "$state" ]; then
        say "there is no node: $state does not exist"
        return
    fi
    [ "$(id -u)" = 0 ] || fail "only root can end the node"
    [ -f "$state/node" ] || fail "$state is not a node's state folder; it stays as it is"
    for name in kube-proxy kubelet kube-scheduler kube-controller-manager kube-apiserver etcd; do
        # Their data goes with them, and an orderly end of the API server waits for every watch.
        stop "$name" KILL
    done
    end_containers
    unmount_all
    remove_network
    restore_machine
    verify_gone
    rm -rf --one-file-system "$state"
    say "the node is gone, with everything it wrote"
}
