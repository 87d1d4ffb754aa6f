# shellcheck shell=bash
# What is in each image.

busybox_binary() {
    local path
    for path in /bin/busybox /usr/bin/busybox; do
        # The static one needs no other file. ldd fails on it.
        if [ -x "$path" ] && ! ldd "$path" >/dev/null 2>&1; then
            echo "$path"
            return
        fi
    done
    fail "the package busybox-static is needed and not installed"
}

fill_pause() { install -D -m 755 "$(tool_folder addons)/pause" "$1/pause"; }

fill_busybox() {
    local applet busybox
    busybox=$(busybox_binary)
    install -D -m 755 "$busybox" "$1/bin/busybox"
    for applet in $("$busybox" --list); do
        [ "$applet" = busybox ] || ln -s busybox "$1/bin/$applet"
    done
    base_files "$1"
}

fill_coredns() {
    install -D -m 755 "$(tool_folder addons)/coredns" "$1/coredns"
    base_files "$1"
}

fill_local_path_provisioner() {
    install -D -m 755 "$(tool_folder addons)/local-path-provisioner" "$1/local-path-provisioner"
    base_files "$1"
}

# A web server whose types for .jpg, .jpeg and .png are built in.
fill_origin() {
    local busybox
    busybox=$(busybox_binary)
    install -D -m 755 "$busybox" "$1/bin/busybox"
    mkdir -p "$1/srv"
    install -m 644 "$root"/tests/data/images/*.* "$1/srv/"
    base_files "$1"
}

fill_ferretdb() {
    install -D -m 755 "$(tool_folder ferretdb)/ferretdb" "$1/usr/bin/ferretdb"
    install -d -m 755 "$1/data"
    # A volume that is mounted here brings its own owner; without one, anybody may write.
    install -d -m 1777 "$1/data/db"
    base_files "$1"
}

fill_victorialogs() {
    install -D -m 755 "$(tool_folder victorialogs)/victoria-logs" "$1/usr/bin/victoria-logs"
    install -d -m 1777 "$1/data"
    base_files "$1"
}

fill_seaweedfs() {
    install -D -m 755 "$(tool_folder seaweedfs)/weed" "$1/usr/bin/weed"
    install -d -m 1777 "$1/data"
    base_files "$1"
}

fill_kueue() {
    install -D -m 755 "$(tool_folder kueue)/kueue" "$1/manager"
    base_files "$1"
}

# The project's binaries and the C library's files they were linked with.
fill_imagebatch() {
    local binary library libraries
    for binary in "${binaries[@]}"; do
        install -D -m 755 "$built/$binary" "$1/usr/local/bin/$binary"
        # A debug binary is four times as large with its line tables. The assembler notes where its sources lie, and the
        # linker's build id is made of that too.
        strip --strip-debug --wildcard --strip-symbol='/*' --remove-section=.note.gnu.build-id "$1/usr/local/bin/$binary"
    done
    libraries=$(for binary in "${binaries[@]}"; do ldd "$built/$binary"; done |
        awk '$2 == "=>" { print $3 } $1 ~ /^\// { print $1 }' | sort -u)
    for library in $libraries; do
        install -D -m 755 "$library" "$1$library"
    done
    base_files "$1"
}

# Name lookup, certificates, a user without rights, a folder for temporary files.
base_files() {
    install -d -m 755 "$1/etc/ssl/certs"
    install -d -m 1777 "$1/tmp"
    install -m 644 /etc/ssl/certs/ca-certificates.crt "$1/etc/ssl/certs/ca-certificates.crt"
    printf 'root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/tmp:/sbin/nologin\n' >"$1/etc/passwd"
    printf 'root:x:0:\nnonroot:x:65532:\n' >"$1/etc/group"
    printf 'hosts: files dns\n' >"$1/etc/nsswitch.conf"
    # The runtime mounts a pod's own files over these.
    touch "$1/etc/hostname" "$1/etc/hosts" "$1/etc/resolv.conf"
}
