# shellcheck shell=bash
# SeaweedFS and FerretDB as processes on loopback, for the services.

# Only this machine reaches them, so that the keys need not be secret.
s3_access_key_id=imagebatch
s3_secret_access_key=imagebatch-tests
s3_bucket=imagebatch

start_seaweedfs() {
    mkdir -p "$state/seaweedfs"
    start seaweedfs env AWS_ACCESS_KEY_ID="$s3_access_key_id" AWS_SECRET_ACCESS_KEY="$s3_secret_access_key" \
        "$(tool_folder seaweedfs)/weed" -logtostderr=true server -dir="$state/seaweedfs" \
        -ip=127.0.0.1 -ip.bind=127.0.0.1 -master.port="$master_port" -master.port.grpc="$master_grpc_port" \
        -volume.port="$volume_port" -volume.port.grpc="$volume_grpc_port" \
        -filer -filer.port="$filer_port" -filer.port.grpc="$filer_grpc_port" \
        -s3 -s3.port="$s3_port" -s3.port.grpc="$s3_grpc_port" -s3.port.iceberg=0 -s3.port.lance=0 -s3.iam=false \
        -master.telemetry=false -master.volumeSizeLimitMB=64 -volume.max=0 -volume.preStopSeconds=1
}

start_ferretdb() {
    start ferretdb "$(tool_folder ferretdb)/ferretdb" -listen "127.0.0.1:$mongodb_port" -data "$state/ferretdb"
}

# Succeeds when the bucket is there, which also says that all of SeaweedFS's parts have found each other.
make_bucket() {
    case $(curl -sS -m 5 -o /dev/null -w '%{http_code}' --aws-sigv4 aws:amz:us-east-1:s3 \
        --user "$s3_access_key_id:$s3_secret_access_key" -X PUT "http://127.0.0.1:$s3_port/$s3_bucket") in
    200 | 409) ;;
    *) return 1 ;;
    esac
}
