"""A shell that goes on from one command of a page to the next, as a reader's does."""

import os
import re
import select
import signal
import subprocess
import time

PATIENCE = 300
END = "the end of this command"
# curl says what went wrong, and waits for nobody without end. A release is there already: installing one is
# rendering it, and asking the API server whether it would take it. After an upgrade a reader is slower than the gateways
# of before, which go meanwhile.
START = """
set -o pipefail
curl() { command curl --silent --show-error --fail-with-body --max-time 120 "$@"; }
helm() {
    case $1 in
    install)
        command helm template --no-hooks --kube-version 1.34 "${@:2}" --namespace "$EMPTY_NAMESPACE" |
            kubectl apply --server-side --force-conflicts --dry-run=server --field-manager=walk --filename=- >/dev/null
        ;;
    upgrade) command helm "$@" && timeout 60 bash -c "$GONE" ;;
    *) command helm "$@" ;;
    esac
}
GONE='
until [[ $(kubectl get pods --selector=app.kubernetes.io/component=gateway --output=name | wc -l) -eq \
    $(kubectl get deployment imagebatch-gateway --output=jsonpath={.spec.replicas}) ]]; do sleep 0.3; done'
"""


class Terminal:
    def __init__(self, folder, environment):
        self.shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc"], cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True,
        )
        # A page may name the demo's own; what it changes of kubectl's settings stays here all the same.
        self.settings = environment["KUBECONFIG"]
        self.run(START)

    def run(self, command):
        """Runs a command and returns its status and what came on both of its outputs."""
        # Not from a here-document or a pipe: what it sets must stay. Its input is nobody's.
        self.shell.stdin.write(f"export KUBECONFIG={self.settings}\n{{ {command}\n}} </dev/null\nprintf '\\n%s %s\\n' '{END}' $?\n".encode())
        self.shell.stdin.flush()
        came = self.until(rf"\n{END} (\d+)\n\Z")
        text, _, status = came.rpartition(f"\n{END} ")
        return int(status), text

    def start(self, command, announces):
        """Begins what does not end by itself, and waits until it says that it is there."""
        self.shell.stdin.write(f"{command} </dev/null &\n".encode())
        self.shell.stdin.flush()
        return 0, self.until(announces)

    def until(self, pattern):
        came, deadline = "", time.monotonic() + PATIENCE
        while not re.search(pattern, came):
            if not select.select([self.shell.stdout], [], [], max(0, deadline - time.monotonic()))[0]:
                raise TimeoutError(f"nothing more came within {PATIENCE} s:\n{came}")
            read = os.read(self.shell.stdout.fileno(), 65536)
            if not read:
                raise EOFError(f"the shell ended:\n{came}")
            came += read.decode(errors="replace")
        return came

    def close(self):
        """Ends the shell and what it began."""
        try:
            os.killpg(self.shell.pid, signal.SIGTERM)
        except ProcessLookupError:
            pass
        self.shell.wait()
