# shellcheck shell=bash
# Certificates, etcd and the API server: shared by the node and by the services for integration tests.
# The caller sets: state, api_address, api_port, etcd_port, etcd_peer_port.

# A key and a certificate signed by an authority: NAME AUTHORITY SUBJECT [SUBJECT-ALTERNATIVE-NAMES]
certificate() {
    local pki=$state/pki name=$1 authority=$2 subject=$3 names=${4:-} extensions=()
    [ ! -s "$pki/$name.crt" ] || return 0
    extensions=(-addext 'basicConstraints=critical,CA:FALSE' -addext 'extendedKeyUsage=serverAuth,clientAuth')
    [ -z "$names" ] || extensions+=(-addext "subjectAltName=$names")
    # The certificate comes last and whole, so that an interrupted run is repeated.
    openssl req -x509 -CA "$pki/$authority.crt" -CAkey "$pki/$authority.key" -days 3650 -nodes \
        -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -subj "$subject" "${extensions[@]}" \
        -keyout "$pki/$name.key" -out "$pki/$name.new" 2>"$pki/$name.log" ||
        fail "openssl cannot make the certificate $name: $(<"$pki/$name.log")"
    mv "$pki/$name.new" "$pki/$name.crt"
    rm -f "$pki/$name.log"
}

authority() {
    local pki=$state/pki
    [ ! -s "$pki/$1.crt" ] || return 0
    openssl req -x509 -days 3650 -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -subj "/CN=$1" \
        -addext 'keyUsage=critical,keyCertSign,digitalSignature' \
        -keyout "$pki/$1.key" -out "$pki/$1.new" 2>/dev/null || fail "openssl cannot make the authority $1"
    mv "$pki/$1.new" "$pki/$1.crt"
}

control_plane_certificates() {
    (umask 077 && mkdir -p "$state/pki")
    authority ca
    authority front-proxy-ca
    # 10.96.0.1 is the address of the Service `kubernetes`.
    certificate kube-apiserver ca /CN=kube-apiserver \
        "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,DNS:localhost,IP:127.0.0.1,IP:10.96.0.1,IP:$api_address"
    certificate apiserver-kubelet-client ca /O=system:masters/CN=kube-apiserver-kubelet-client
    certificate front-proxy-client front-proxy-ca /CN=front-proxy-client
    certificate admin ca /O=system:masters/CN=admin
    # Its certificate verifies the tokens of ServiceAccounts.
    certificate service-account ca /CN=service-account
}

# A kubeconfig for the certificate of this name: NAME [FILE]
kubeconfig() {
    local file=${2:-$state/$1.kubeconfig}
    (
        umask 077
        cat >"$file.new" <<YAML
apiVersion: v1
kind: Config
clusters:
- name: imagebatch
  cluster:
    server: https://$api_address:$api_port
    certificate-authority-data: $(base64 -w 0 <"$state/pki/ca.crt")
users:
- name: $1
  user:
    client-certificate-data: $(base64 -w 0 <"$state/pki/$1.crt")
    client-key-data: $(base64 -w 0 <"$state/pki/$1.key")
contexts:
- name: imagebatch
  context:
    cluster: imagebatch
    user: $1
current-context: imagebatch
YAML
    )
    mv "$file.new" "$file"
}

api_ready() {
    curl -fsS -m 5 --cacert "$state/pki/ca.crt" --cert "$state/pki/admin.crt" --key "$state/pki/admin.key" \
        "https://$api_address:$api_port/readyz"
}

start_etcd() {
    # A test's data need not survive a power failure.
    start etcd "$(tool_folder etcd)/etcd" --name=node --data-dir="$state/etcd" --unsafe-no-fsync \
        --log-level=warn --listen-client-urls="http://127.0.0.1:$etcd_port" \
        --advertise-client-urls="http://127.0.0.1:$etcd_port" --listen-peer-urls="http://127.0.0.1:$etcd_peer_port" \
        --initial-advertise-peer-urls="http://127.0.0.1:$etcd_peer_port" \
        --initial-cluster="node=http://127.0.0.1:$etcd_peer_port"
}

# Starts the API server, with further flags. It is ready when `api_ready` succeeds.
start_api() {
    local pki=$state/pki
    start kube-apiserver "$(tool_folder kubernetes)/kube-apiserver" \
        --etcd-servers="http://127.0.0.1:$etcd_port" \
        --bind-address="$api_address" --advertise-address="$api_address" --secure-port="$api_port" \
        --tls-cert-file="$pki/kube-apiserver.crt" --tls-private-key-file="$pki/kube-apiserver.key" \
        --client-ca-file="$pki/ca.crt" \
        --requestheader-client-ca-file="$pki/front-proxy-ca.crt" --requestheader-allowed-names=front-proxy-client \
        --requestheader-extra-headers-prefix=X-Remote-Extra- --requestheader-group-headers=X-Remote-Group \
        --requestheader-username-headers=X-Remote-User \
        --proxy-client-cert-file="$pki/front-proxy-client.crt" --proxy-client-key-file="$pki/front-proxy-client.key" \
        --service-account-issuer=https://kubernetes.default.svc.cluster.local \
        --service-account-key-file="$pki/service-account.crt" \
        --service-account-signing-key-file="$pki/service-account.key" \
        --service-cluster-ip-range=10.96.0.0/12 \
        "$@"
}
