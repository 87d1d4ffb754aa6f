# shellcheck shell=bash
# The node: the control plane, containerd, kubelet and kube-proxy as processes of this machine, all they write
# below $state (and the few places that their programs do not let one choose; see outside_folders).

state=${IMAGEBATCH_CLUSTER_STATE:-/var/lib/imagebatch-cluster}
# shellcheck disable=SC2034 # for control-plane.sh
api_port=6443 etcd_port=12379 etcd_peer_port=12380
node=imagebatch
bridge=imagebatch0
outside_folders=(/var/lib/kubelet /var/log/containers /var/lib/cni /run/containerd)
# What the components set for the whole machine; `down` sets it back.
sysctls=(net.ipv4.ip_forward net.bridge.bridge-nf-call-iptables vm.overcommit_memory vm.panic_on_oom
    kernel.panic kernel.panic_on_oops kernel.keys.root_maxkeys kernel.keys.root_maxbytes)
kubernetes_tools=(kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl)
started=()
# Where Debian keeps runc and iptables; not every user's PATH has it.
PATH=$PATH:/usr/sbin

# The address of the interface to the world, or else of the first interface there is.
find_api_address() {
    api_address=$(ip -4 route get 192.0.2.1 2>/dev/null | sed -n 's/.* src \([0-9.]*\).*/\1/p')
    [ -n "$api_address" ] || api_address=$(ip -4 -o addr show scope global | awk '{ sub("/.*", "", $4); print $4; exit }')
    [ -n "$api_address" ] || fail "this machine has no IPv4 address beside loopback; the node needs one"
}

# What a state folder is only good for: this boot and this address.
node_identity() { echo "$(</proc/sys/kernel/random/boot_id) $api_address"; }

check_machine() {
    [ "$(id -u)" = 0 ] || fail "a node on this machine needs root; without root, use CLUSTER=kind or CLUSTER=current"
    [ "$(uname -s)" = Linux ] || fail "a node on this machine needs Linux; use CLUSTER=kind or CLUSTER=current"
    [ "${#state}" -le 50 ] || fail "IMAGEBATCH_CLUSTER_STATE is too long for the sockets in it: at most 50 characters"
    [ ! -f "$state/node" ] || return 0
    # Both would write the same chains.
    if [ -n "$(own_chains "$(iptables-save 2>/dev/null)")$(pod_cgroups)" ]; then
        fail "another Kubernetes node seems to run on this machine (iptables has KUBE- chains, or there are kubepods" \
            "control groups); end it first, or use CLUSTER=current"
    fi
}

# The control groups of the node's pods, one for each controller in version 1. Those of nodes in containers lie
# deeper.
pod_cgroups() { find /sys/fs/cgroup -maxdepth 2 -type d -name kubepods; }

# Remembers what is there before, so that `down` takes away what it has to and no more.
prepare_machine() {
    local folder name module
    [ ! -f "$state/node" ] || return 0
    # Below lie keys, so the folder is root's; pods see their volumes through mounts.
    mkdir -p -m 711 "$state"
    mkdir -p "$state"/{run,log,cni,pod-logs,volume-plugins,volumes}
    for module in overlay br_netfilter; do
        modprobe "$module" 2>/dev/null || true
    done
    [ -e /proc/sys/net/bridge/bridge-nf-call-iptables ] ||
        fail "the kernel has no br_netfilter, without which Services do not reach pods (modprobe br_netfilter)"
    : >"$state/outside"
    for folder in "${outside_folders[@]}"; do
        [ -e "$folder" ] || echo "$folder" >>"$state/outside"
    done
    for name in "${sysctls[@]}"; do
        printf '%s = %s\n' "$name" "$(sysctl -n "$name")"
    done >"$state/sysctl"
    node_identity >"$state/node"
}

# Writes a file of config/ with this machine's values.
render() {
    local resolv_conf=/etc/resolv.conf forward=()
    # The list that systemd-resolved forwards to: itself it is only reachable from the machine.
    [ ! -f /run/systemd/resolve/resolv.conf ] || resolv_conf=/run/systemd/resolve/resolv.conf
    # CoreDNS refuses an empty list.
    grep -q '^nameserver' "$resolv_conf" || forward=(-e '/forward [.] /d')
    sed "${forward[@]}" -e "s|@STATE@|$state|g" -e "s|@NODE@|$node|g" -e "s|@NODE_IP@|$api_address|g" -e "s|@BRIDGE@|$bridge|g" \
        -e "s|@CNI_BIN@|/usr/lib/cni|g" -e "s|@RESOLV_CONF@|$resolv_conf|g" "$here/config/$1"
}

# Gives a component its configuration file. What runs with another one is ended, to be started anew; a file that
# is the same stays untouched, as some components end when they see it written.
configure() { # COMPONENT TEMPLATE FILE
    render "$2" >"$3.new"
    if cmp -s "$3.new" "$3"; then
        rm "$3.new"
    else
        stop "$1"
        mv "$3.new" "$3"
    fi
}

containerd_ready() { ctr --address "$state/containerd.sock" version; }
ctr_k8s() { ctr --address "$state/containerd.sock" --namespace k8s.io "$@"; }
kube() { "$(tool_folder kubernetes)/kubectl" --kubeconfig "$state/admin.kubeconfig" "$@"; }

start_containerd() {
    configure containerd containerd.toml "$state/containerd.toml"
    configure containerd cni.conflist "$state/cni/imagebatch.conflist"
    start containerd /usr/bin/containerd --config "$state/containerd.toml" --log-level warn
    wait_for 30 containerd containerd_ready
}

start_api_server() {
    local pki=$state/pki name
    control_plane_certificates
    certificate kube-controller-manager ca /CN=system:kube-controller-manager
    certificate kube-scheduler ca /CN=system:kube-scheduler
    certificate kube-proxy ca /CN=system:kube-proxy
    certificate kubelet ca "/O=system:nodes/CN=system:node:$node" "DNS:$node,IP:$api_address"
    for name in admin kube-controller-manager kube-scheduler kube-proxy kubelet; do
        [ -s "$state/$name.kubeconfig" ] || kubeconfig "$name"
    done
    start_etcd
    configure kube-apiserver audit.yaml "$state/audit.yaml"
    start_api --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged=true \
        --kubelet-preferred-address-types=InternalIP --kubelet-certificate-authority="$pki/ca.crt" \
        --kubelet-client-certificate="$pki/apiserver-kubelet-client.crt" \
        --kubelet-client-key="$pki/apiserver-kubelet-client.key" \
        --audit-policy-file="$state/audit.yaml" --audit-log-path="$state/log/audit.log" --audit-log-maxsize=10000
}

start_controllers() {
    local pki=$state/pki config
    wait_for 60 kube-apiserver api_ready
    config=$state/kube-controller-manager.kubeconfig
    # The default limit on requests makes its start alone take 5 s.
    start kube-controller-manager "$(tool_folder kubernetes)/kube-controller-manager" \
        --kubeconfig="$config" --authentication-kubeconfig="$config" --authorization-kubeconfig="$config" \
        --bind-address=127.0.0.1 --leader-elect=false --use-service-account-credentials=true \
        --kube-api-qps=200 --kube-api-burst=400 \
        --cluster-cidr=10.244.0.0/16 --service-cluster-ip-range=10.96.0.0/12 --root-ca-file="$pki/ca.crt" \
        --service-account-private-key-file="$pki/service-account.key" \
        --cluster-signing-cert-file="$pki/ca.crt" --cluster-signing-key-file="$pki/ca.key" \
        --flex-volume-plugin-dir="$state/volume-plugins"
    config=$state/kube-scheduler.kubeconfig
    start kube-scheduler "$(tool_folder kubernetes)/kube-scheduler" \
        --kubeconfig="$config" --authentication-kubeconfig="$config" --authorization-kubeconfig="$config" \
        --bind-address=127.0.0.1 --leader-elect=false
}

start_node() {
    configure kubelet kubelet.yaml "$state/kubelet.yaml"
    configure kube-proxy kube-proxy.yaml "$state/kube-proxy.yaml"
    sysctl -q -w net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=1
    start kubelet "$(tool_folder kubernetes)/kubelet" --config="$state/kubelet.yaml" --root-dir="$state/kubelet" \
        --cert-dir="$state/pki" --kubeconfig="$state/kubelet.kubeconfig" --hostname-override="$node" \
        --node-ip="$api_address"
    start kube-proxy "$(tool_folder kubernetes)/kube-proxy" --config="$state/kube-proxy.yaml"
    wait_for 60 kubelet kube get "node/$node"
    wait_for 60 kubelet kube wait --for=condition=Ready "node/$node" --timeout=5s
    wait_for 30 kube-controller-manager kube get serviceaccount/default
}

start_addons() {
    local name
    { render dns.yaml && echo --- && render storage.yaml; } | kube apply --server-side --force-conflicts -f - >"$state/log/addons.log" 2>&1 ||
        component_failed addons "cannot be applied"
    for name in kube-system/coredns local-path-storage/local-path-provisioner; do
        kube -n "${name%/*}" rollout status "deployment/${name#*/}" --timeout=60s >"$state/log/addons.log" 2>&1 || {
            kube -n "${name%/*}" get pods,events >&2 || true
            component_failed addons "are not ready: $name"
        }
    done
}
