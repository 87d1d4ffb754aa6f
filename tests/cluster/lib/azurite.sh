# shellcheck shell=bash
# Azurite, Microsoft's emulator of Azure Blob Storage, from npm with fixed checksums, as a process on loopback.

azurite_folder() { echo "$cache/tools/azurite-$(fingerprint "$here/tools/azurite/package-lock.json")"; }

azurite_missing() { [ -d "$(azurite_folder)" ] || echo azurite; }

# Installs it once; scripts of its packages do not run.
install_azurite() {
    local folder work from log=$cache/tools/azurite.log
    folder=$(azurite_folder)
    [ ! -d "$folder" ] || return 0
    from=$(now)
    mkdir -p "$cache/tools"
    work=$(mktemp -d "$cache/tools/.azurite.XXXXXX")
    cp "$here"/tools/azurite/package*.json "$here/tools/azurite/.npmrc" "$work/"
    if ! (cd "$work" && PATH=$azurite_node:$PATH npm ci --omit=dev --ignore-scripts --loglevel=error) >"$log" 2>&1; then
        rm -rf "$work"
        tail -n 20 "$log" >&2
        fail "installing tests/cluster/tools/azurite failed; the end of $log is above"
    fi
    mv "$work" "$folder"
    say "  installed azurite in $(since "$from")"
}

start_azurite() {
    start azurite "$azurite_node/node" "$(azurite_folder)/node_modules/azurite/dist/src/blob/main.js" \
        --inMemoryPersistence --silent --disableTelemetry --blobHost 127.0.0.1 --blobPort "$azurite_port"
}
