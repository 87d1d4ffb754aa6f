# shellcheck shell=bash
# Container images without a container engine: a folder becomes an OCI archive of one layer, byte for byte the
# same for the same input. Beside it lies NAME.ref, the image's name and digest, for `load`.

image_architecture() {
    case $(uname -m) in
    x86_64) echo amd64 ;;
    aarch64) echo arm64 ;;
    *) fail "images are built on x86-64 and 64-bit ARM only, this machine is $(uname -m)" ;;
    esac
}

# Stores a file under its checksum in the blobs of an image and prints its descriptor.
blob() { # LAYOUT MEDIA-TYPE FILE [FURTHER-FIELDS]
    local digest
    digest=$(sha256sum <"$3" | cut -d ' ' -f 1)
    printf '{"mediaType":"%s","digest":"sha256:%s","size":%d%s}' "$2" "$digest" "$(stat -c %s "$3")" "${4:-}"
    mv "$3" "$1/blobs/sha256/$digest"
}

# Writes ARCHIVE, the image IMAGE with the folder's files and the container's configuration, a JSON object.
oci_archive() { # FOLDER IMAGE CONFIGURATION ARCHIVE
    local folder=$1 image=$2 configuration=$3 archive=$4 layout layer config manifest type
    type=application/vnd.oci.image
    layout=$(mktemp -d "$archive.XXXXXX")
    mkdir -p "$layout/blobs/sha256"
    tar --create --format=gnu --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner \
        --directory "$folder" --file "$layout/layer" .
    layer=$(blob "$layout" "$type.layer.v1.tar" "$layout/layer")
    # An uncompressed layer's identity is its digest.
    printf '{"architecture":"%s","os":"linux","config":%s,"rootfs":{"type":"layers","diff_ids":[%s]}}' \
        "$(image_architecture)" "$configuration" "$(grep -o '"sha256:[0-9a-f]*"' <<<"$layer")" >"$layout/config"
    config=$(blob "$layout" "$type.config.v1+json" "$layout/config")
    printf '{"schemaVersion":2,"mediaType":"%s","config":%s,"layers":[%s]}' \
        "$type.manifest.v1+json" "$config" "$layer" >"$layout/manifest"
    manifest=$(blob "$layout" "$type.manifest.v1+json" "$layout/manifest" \
        ",\"annotations\":{\"io.containerd.image.name\":\"$image\",\"org.opencontainers.image.ref.name\":\"${image##*:}\"}")
    printf '{"schemaVersion":2,"manifests":[%s]}' "$manifest" >"$layout/index.json"
    printf '{"imageLayoutVersion":"1.0.0"}' >"$layout/oci-layout"
    tar --create --format=gnu --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX \
        --directory "$layout" --file "$archive.new" .
    rm -rf "$layout"
    mv "$archive.new" "$archive"
    echo "$image $(grep -o 'sha256:[0-9a-f]*' <<<"$manifest" | head -n 1)" >"${archive%.tar}.ref"
}

# Builds an archive unless it was built from the same input: ARCHIVE IMAGE INPUT FILL CONFIGURATION, where FILL is
# a command that puts the image's files into the folder it is given.
image() {
    local archive=$1 image=$2 input=$3 fill=$4 configuration=$5 folder
    input=$(fingerprint "$image" "$input" "$configuration" "$here/lib/oci.sh" "$here/lib/contents.sh")
    if [ -f "$archive" ] && [ "$(cat "${archive%.tar}.input" 2>/dev/null)" = "$input" ]; then return; fi
    mkdir -p "$(dirname "$archive")"
    # What an interrupted run left goes as well.
    rm -rf "${archive%.tar}.input" "$archive".*
    folder=$(mktemp -d "$archive.root.XXXXXX")
    # Every user of the image may read it, whatever the caller's umask.
    chmod 755 "$folder"
    (umask 022 && $fill "$folder")
    oci_archive "$folder" "$image" "$configuration" "$archive"
    rm -rf "$folder"
    echo "$input" >"${archive%.tar}.input"
    say "  built $image"
}
