//! The rights of the installation's service accounts are those that they use: the API server's audit log of the
//! end-to-end tests against the rules of their Roles. It runs last: `tests/run e2e` names it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::cluster::{kubectl, variable};

/// What may be granted without being used, and why.
const EXCEPTIONS: &[(&str, &str)] = &[
    // The API server asks for it only with the admission plugin OwnerReferencesPermissionEnforcement, which OpenShift
    // has and this cluster has not.
    ("imagebatch-controller", "update imagebatches.imagebatch.io/finalizers"),
    // Only where a Job of the batch's name is there already.
    ("imagebatch-controller", "get jobs.batch"),
];

/// A verb and its resource, such as `patch imagebatches.imagebatch.io/status`.
type Right = String;

#[test]
#[ignore = "it reads what the other tests did: tests/run e2e runs it after them"]
fn every_right_is_used_and_none_is_missing() {
    let used = used();
    let granted = granted();
    assert!(used.contains_key("imagebatch-controller"), "the audit log has nothing of the controller: {used:?}");
    let accounts: BTreeSet<&String> = used.keys().chain(granted.keys()).collect();
    let mut wrong = Vec::new();
    for account in accounts {
        let (used, granted) = (used.get(account).cloned().unwrap_or_default(), granted.get(account).cloned());
        let granted = granted.unwrap_or_default();
        eprintln!("{account}: {} rights granted, {} used", granted.len(), used.len());
        wrong.extend(used.difference(&granted).map(|it| format!("{account} may not {it}, and does")));
        let excepted = |it: &&Right| EXCEPTIONS.contains(&(account.as_str(), it.as_str()));
        let unused = granted.difference(&used).filter(|it| !excepted(it));
        wrong.extend(unused.map(|it| format!("{account} may {it}, and does not")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Returns what each `ServiceAccount` of the installation did since `AUDIT_SINCE`.
fn used() -> BTreeMap<String, BTreeSet<Right>> {
    let since = variable("AUDIT_SINCE");
    let prefix = format!("system:serviceaccount:{}:", variable("DEMO_NAMESPACE"));
    let log = std::fs::read_to_string(variable("IMAGEBATCH_AUDIT_LOG")).expect("the audit log");
    let mut used: BTreeMap<String, BTreeSet<Right>> = BTreeMap::new();
    for line in log.lines() {
        let event: Value = serde_json::from_str(line).expect("an audit event");
        let text = |place: &str| event.pointer(place).and_then(Value::as_str).unwrap_or_default().to_owned();
        let Some(account) = text("/user/username").strip_prefix(&prefix).map(str::to_owned) else { continue };
        if text("/requestReceivedTimestamp") < since || event.get("objectRef").is_none() {
            continue;
        }
        let used = used.entry(account).or_default();
        let subresource = text("/objectRef/subresource");
        let resource = name(&text("/objectRef/resource"), &text("/objectRef/apiGroup"), &subresource);
        let verb = text("/verb");
        // Server-side apply of what does not exist yet needs both.
        if verb == "patch" && event.pointer("/responseStatus/code").and_then(Value::as_u64) == Some(201) {
            used.insert(format!("create {resource}"));
        }
        used.insert(format!("{verb} {resource}"));
    }
    used
}

/// Returns what each `ServiceAccount` of the installation may do by its bindings.
fn granted() -> BTreeMap<String, BTreeSet<Right>> {
    let namespace = variable("DEMO_NAMESPACE");
    let list = |kinds: &str| -> Vec<Value> {
        let listed = kubectl(&["get", kinds, "--all-namespaces", "--output=json"]);
        let listed: Value = serde_json::from_str(&listed).expect("JSON");
        listed["items"].as_array().expect("a list").clone()
    };
    let roles = list("roles,clusterroles");
    let mut granted: BTreeMap<String, BTreeSet<Right>> = BTreeMap::new();
    for binding in list("rolebindings,clusterrolebindings") {
        let subjects = binding["subjects"].as_array().cloned().unwrap_or_default();
        let ours = subjects.iter().filter(|it| it["kind"] == "ServiceAccount" && it["namespace"] == *namespace);
        for account in ours {
            let role = roles
                .iter()
                .find(|role| {
                    let is_here = role["kind"] == "ClusterRole"
                        || role["metadata"]["namespace"] == binding["metadata"]["namespace"];
                    role["kind"] == binding["roleRef"]["kind"]
                        && role["metadata"]["name"] == binding["roleRef"]["name"]
                        && is_here
                })
                .expect("the role exists");
            let account = account["name"].as_str().expect("a name").to_owned();
            granted.entry(account).or_default().extend(rights(role));
        }
    }
    granted
}

fn rights(role: &Value) -> BTreeSet<Right> {
    let texts = |rule: &Value, key: &str| -> Vec<String> {
        let list = rule[key].as_array().cloned().unwrap_or_default();
        list.iter().map(|it| it.as_str().expect("text").to_owned()).collect()
    };
    let mut rights = BTreeSet::new();
    for rule in role["rules"].as_array().cloned().unwrap_or_default() {
        for group in texts(&rule, "apiGroups") {
            for resource in texts(&rule, "resources") {
                let (resource, subresource) = resource.split_once('/').unwrap_or((&resource, ""));
                let resource = name(resource, &group, subresource);
                assert!(!resource.contains('*'), "{resource} is all or nothing");
                rights.extend(texts(&rule, "verbs").into_iter().map(|verb| format!("{verb} {resource}")));
            }
        }
    }
    rights
}

fn name(resource: &str, group: &str, subresource: &str) -> String {
    let dot = if group.is_empty() { "" } else { "." };
    let slash = if subresource.is_empty() { "" } else { "/" };
    format!("{resource}{dot}{group}{slash}{subresource}")
}
