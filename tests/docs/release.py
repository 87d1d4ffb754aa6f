"""The release of `make demo`, and what pages leave in its namespace."""

import os
import re
import subprocess
from pathlib import Path

NAMESPACE = os.environ["DEMO_NAMESPACE"]
CHART = Path(__file__).resolve().parents[2] / "charts/imagebatch"
KINDS = "imagebatches.imagebatch.io,configmaps,secrets,serviceaccounts,roles,rolebindings,resourcequotas"


def output(*command, given=None):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, input=given).stdout


def kubectl(*arguments):
    return output("kubectl", "--namespace", NAMESPACE, *arguments)


def helm(*arguments, given=None):
    return output("helm", "--namespace", NAMESPACE, *arguments, given=given)


def objects():
    """What is in the namespace, and neither the chart's nor a batch's."""
    listed = kubectl("get", KINDS, "--selector=!app.kubernetes.io/managed-by,owner!=helm", "--output=name")
    return set(listed.split())


def clean(before):
    added = sorted(objects() - before)
    # ImageBatches first: what they own goes with them.
    for batches in (True, False):
        names = [it for it in added if it.startswith("imagebatch.") == batches]
        if names:
            kubectl("delete", "--ignore-not-found", *names)


def revision():
    return re.search(r"^REVISION: (\d+)", helm("status", "imagebatch"), re.M)[1]


def values():
    return helm("get", "values", "imagebatch", "--output=yaml")


def upgrade(given, *arguments):
    """Gives the release these values and no others. Helm remembers too few revisions to go back to the first."""
    helm("upgrade", "imagebatch", str(CHART), "--values=-", *arguments, "--wait", "--timeout=180s", given=given)
    kubectl("rollout", "status", "deployment/imagebatch-gateway", "--timeout=120s")
    # The logs of a pod that goes just then cannot be read.
    gone = kubectl("get", "pods", "--output=jsonpath={range .items[?(@.metadata.deletionTimestamp)]}{.metadata.name} {end}").split()
    if gone:
        kubectl("wait", "--for=delete", "--timeout=120s", "pod", *gone)


def caller():
    """A token of somebody who may work with ImageBatches."""
    kubectl("create", "serviceaccount", "walk")
    kubectl("create", "role", "walk", "--resource=imagebatches.imagebatch.io", "--verb=create,get,list,patch,delete")
    kubectl("create", "rolebinding", "walk", "--role=walk", f"--serviceaccount={NAMESPACE}:walk")
    return kubectl("create", "token", "walk", "--audience=imagebatch").strip()
