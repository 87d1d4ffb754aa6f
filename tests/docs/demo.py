"""The documents' pages, as they would be written for the release of `make demo`."""

import os
import re
import socket
from pathlib import Path

import pages
from release import NAMESPACE, helm

URL = os.environ["DEMO_URL"]
ORIGIN = f"http://origin.{NAMESPACE}.svc.cluster.local:8080"
NOTES = Path("charts/imagebatch/templates/NOTES.txt")
GETTING_STARTED = Path("docs/getting-started.md")
# They need a caller that is authenticated, as by default; the demo needs none.
WITH_CALLERS = (GETTING_STARTED, Path("docs/authentication.md"), NOTES)
# Where a namespace is named, in commands, manifests and answers.
NAMING = r"(--(?:default-)?namespace[ =]|-n |namespace: |namespace=|serviceaccount[=:]|\"namespace\":\"|Namespace:  |in namespace \"|^ok       namespace   \")"


class Page:
    """A page, as it would be written for the demo."""

    def __init__(self, path):
        self.path = path
        if path == NOTES:
            notes = helm("get", "notes", "imagebatch")
            # Its commands are indented by five; the last ones take the release away.
            commands = [it[5:] for it in notes.splitlines() if it.startswith("     ") and " delete pvc," not in it]
            csv = next(it for it in pages.blocks(GETTING_STARTED) if it.language == "csv")
            self.blocks = [csv, pages.Block(path, 1, "sh", "\n".join(commands) + "\n")]
        else:
            self.blocks = [it for it in pages.blocks(path) if not it.is_left_out()]
        self.text = "\n".join(it.text for it in self.blocks)
        self.forwards = "port-forward" in self.text
        # An address of the page's own, as several pages forward at the same time.
        self.port, self.names, self.variables = free_port(), {}, {}
        # What is in no namespace, or one, and goes with the page.
        self.wide = re.findall(r"kubectl create (namespace|clusterrolebinding) (\S+)", self.text)
        self.namespaces = {name for kind, name in self.wide if kind == "namespace"}

    def is_walked(self):
        return any(it.language in pages.SHELL or it.is_manifest() or "values" in it.marks for it in self.blocks)

    def comes_late(self):
        # `kubectl logs` ends with an error where a pod of another page is starting.
        return self.path in WITH_CALLERS or "helm upgrade" in self.text or "kubectl logs" in self.text

    def here(self, text, printed=False):
        for page, true in self.names.items():
            text = text.replace(page, true)
        if self.forwards:
            # What is printed of the gateway itself is the release's publicBaseUrl.
            local = r"127\.0\.0\.1:8080" if printed else r"localhost:8080|\b8080(?=:\d+$)"
            text = re.sub(local, lambda it: it[0].replace("8080", str(self.port)), text, flags=re.M)
        # What a hint gives as an example is no address of the page's.
        text = re.sub("(?<!such as )https://shop.example", ORIGIN, text.replace("http://localhost:8080", URL))
        for name in {"imagebatch", "shop-a"} - self.namespaces:
            text = re.sub(rf"{NAMING}{name}(?![\w/-])", rf"\1{NAMESPACE}", text)
        return text


def free_port():
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return it.getsockname()[1]
