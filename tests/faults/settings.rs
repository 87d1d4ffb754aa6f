//! What the installation is set to for the test: failpoints in every process, and short limits for hosts.
//! Everything is set back when it is dropped.

use serde_json::{Value, json};

use crate::cluster::{kubectl, try_kubectl};
use crate::node::node;
use crate::world::namespace;

const SECRETS: [&str; 2] = ["imagebatch-worker", "imagebatch-connection"];
const WEBHOOK: &str = "imagebatch-webhook";

/// Of each client's calls, 5 % fail, 5 % time out, and 5 % are done and fail.
const FAULTS: &str = "storage.request.before=5%error+5%timeout;storage.request.after=5%error;\
    mongodb.command.before=5%error+5%timeout;mongodb.command.after=5%error";

pub(crate) struct Settings {
    before: Vec<Value>,
}

impl Settings {
    pub(crate) fn apply(faulty: bool) -> Self {
        let before = SECRETS.iter().map(|name| crate::cluster::get("secret", name)["data"].clone()).collect();
        let settings = Self { before };
        let mut given = json!({
            "IMAGEBATCH_EGRESS_ALLOW_HOSTS": format!("*.{}.svc.cluster.local", namespace()),
            "IMAGEBATCH_FETCH_ATTEMPTS": "2",
            "IMAGEBATCH_FETCH_FIRST_BYTE_TIMEOUT_SECONDS": "3",
            "IMAGEBATCH_FETCH_MIN_RATE_SECONDS": "3",
        });
        if faulty {
            given["IMAGEBATCH_FAILPOINTS"] = FAULTS.into();
        }
        for name in SECRETS {
            kubectl(&["patch", "secret", name, "--patch", &json!({ "stringData": given }).to_string()]);
        }
        let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": WEBHOOK },
            "stringData": { "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" } });
        try_kubectl(&["apply", "-f", "-"], &secret.to_string()).expect("the Secret is accepted");
        restart();
        settings
    }
}

impl Drop for Settings {
    fn drop(&mut self) {
        for (name, data) in SECRETS.iter().zip(&self.before) {
            let patch = json!([{ "op": "replace", "path": "/data", "value": data }]).to_string();
            kubectl(&["patch", "secret", name, "--type=json", "--patch", &patch]);
        }
        kubectl(&["delete", "secret", WEBHOOK]);
        kubectl(&["uncordon", &node()]);
        restart();
    }
}

fn restart() {
    let deployments = ["deployment/imagebatch-gateway", "deployment/imagebatch-controller"];
    kubectl(&["rollout", "restart", deployments[0], deployments[1]]);
    for deployment in deployments {
        kubectl(&["rollout", "status", deployment, "--timeout=120s"]);
    }
}
