//! What earlier releases left in a cluster: their `CustomResourceDefinition`s only get additions, and their
//! ImageBatches are read and brought to their end.
//!
//! A release adds its definition and two of its ImageBatches to `tests/data/crd/VERSION`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use imagebatch::api::image_batch::{ImageBatch, crd_yaml};
use imagebatch::api::stage::Stage;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::dynamic;
use crate::harness::{Harness, condition};

/// Bounds that a later release may raise or drop, and those that it may lower or drop.
const UPPER: [&str; 4] = ["maximum", "maxLength", "maxItems", "maxProperties"];
const LOWER: [&str; 4] = ["minimum", "minLength", "minItems", "minProperties"];
/// What may go, and may not come or become another.
const RESTRICTIONS: [&str; 6] =
    ["pattern", "format", "multipleOf", "uniqueItems", "exclusiveMinimum", "exclusiveMaximum"];
/// What has to stay as it is.
const FIXED: [&str; 13] = [
    "type",
    "default",
    "nullable",
    "oneOf",
    "anyOf",
    "allOf",
    "not",
    "x-kubernetes-int-or-string",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
];

/// Returns what an object of the old schema, or its reader, would stumble over in the new one.
fn compare(old: &Value, new: &Value, path: &str) -> Vec<String> {
    let mut found = Vec::new();
    for key in FIXED.into_iter().filter(|key| old.get(key) != new.get(key)) {
        found.push(format!("{path}: {key} was {} and is {}", show(old.get(key)), show(new.get(key))));
    }
    let number = |schema: &Value, key: &str| schema.get(key).and_then(Value::as_f64);
    let narrower = |key: &str, is_narrower: fn(f64, f64) -> bool| {
        number(new, key).is_some_and(|now| number(old, key).is_none_or(|before| is_narrower(now, before)))
    };
    let changed = |key: &str| new.get(key).is_some() && old.get(key) != new.get(key);
    let bounds = UPPER.into_iter().filter(|key| narrower(key, |now, before| now < before));
    let bounds = bounds.chain(LOWER.into_iter().filter(|key| narrower(key, |now, before| now > before)));
    for key in bounds.chain(RESTRICTIONS.into_iter().filter(|key| changed(key))) {
        found.push(format!("{path}: {key} was {} and is {}", show(old.get(key)), show(new.get(key))));
    }
    if let Some(words) = new.get("enum") {
        let words = texts(words);
        let gone = old.get("enum").map(|it| texts(it).difference(&words).count());
        if gone != Some(0) {
            found.push(format!("{path}: enum was {} and is {}", show(old.get("enum")), show(new.get("enum"))));
        }
    }
    let (required, new_required) = (old.get("required").map(texts), new.get("required").map(texts));
    for name in new_required.unwrap_or_default().difference(&required.unwrap_or_default()) {
        found.push(format!("{path}: {name} is required now"));
    }
    found.extend(compare_rules(old, new, path));
    for (name, schema) in properties(old) {
        match new["properties"].get(name) {
            Some(new) => found.extend(compare(schema, new, &format!("{path}.{name}"))),
            None => found.push(format!("{path}: {name} is gone")),
        }
    }
    for (key, suffix) in [("items", "[]"), ("additionalProperties", "{}")] {
        match (old.get(key), new.get(key)) {
            (None, None) => {}
            (Some(old), Some(new)) => found.extend(compare(old, new, &format!("{path}{suffix}"))),
            (old, new) => found.push(format!("{path}: {key} was {} and is {}", show(old), show(new))),
        }
    }
    found
}

/// A rule may go. A new one must speak of a field that older objects do not have; what it says of them then is
/// for the older objects to show.
fn compare_rules(old: &Value, new: &Value, path: &str) -> Vec<String> {
    let rules = |schema: &Value| -> BTreeSet<String> {
        let rules = schema.get("x-kubernetes-validations").and_then(Value::as_array);
        rules.into_iter().flatten().map(|it| it["rule"].as_str().expect("a rule").to_owned()).collect()
    };
    let mut added = BTreeSet::new();
    added_names(Some(old), new, &mut added);
    let speaks_of =
        |rule: &str, name: &str| rule.split(|it: char| !it.is_alphanumeric() && it != '_').any(|word| word == name);
    let (old, new) = (rules(old), rules(new));
    let strange = new.difference(&old).filter(|rule| !added.iter().any(|name| speaks_of(rule, name)));
    strange.map(|rule| format!("{path}: a rule is new: {rule}")).collect()
}

/// Collects the names of the properties that only the new schema has, at any depth.
fn added_names(old: Option<&Value>, new: &Value, added: &mut BTreeSet<String>) {
    for (name, schema) in properties(new) {
        let before = old.and_then(|it| it["properties"].get(name));
        if before.is_none() {
            added.insert(name.clone());
        }
        added_names(before, schema, added);
    }
    if let Some(items) = new.get("items") {
        added_names(old.and_then(|it| it.get("items")), items, added);
    }
}

/// Returns what whoever works with the old definition would miss in the new one.
fn compare_definitions(old: &Value, new: &Value) -> Vec<String> {
    let (old, new) = (&old["spec"], &new["spec"]);
    let mut found = Vec::new();
    for key in ["group", "scope", "names"] {
        if old[key] != new[key] {
            found.push(format!("{key} was {} and is {}", old[key], new[key]));
        }
    }
    for version in old["versions"].as_array().expect("versions") {
        let name = &version["name"];
        let now = new["versions"].as_array().expect("versions").iter().find(|it| it["name"] == *name);
        let Some(now) = now.filter(|it| it["served"] == true) else {
            found.push(format!("{name} is not served"));
            continue;
        };
        if version["subresources"] != now["subresources"] {
            found.push(format!("subresources were {} and are {}", version["subresources"], now["subresources"]));
        }
        let schema = |version: &Value| version["schema"]["openAPIV3Schema"].clone();
        found.extend(compare(&schema(version), &schema(now), ""));
    }
    found
}

fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema.get("properties").and_then(Value::as_object).into_iter().flatten()
}

fn texts(list: &Value) -> BTreeSet<String> {
    list.as_array()
        .expect("a list")
        .iter()
        .map(|it| it.as_str().map_or_else(|| it.to_string(), str::to_owned))
        .collect()
}

fn show(value: Option<&Value>) -> String {
    value.map_or_else(|| "absent".to_owned(), Value::to_string)
}

/// Returns the folders of the releases.
fn releases() -> Vec<PathBuf> {
    let folders = std::fs::read_dir("tests/data/crd").expect("the releases' folders");
    let folders: Vec<PathBuf> = folders.map(|it| it.expect("it can be read").path()).collect();
    assert!(!folders.is_empty(), "there is no release");
    folders
}

fn read(path: &std::path::Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn definition(yaml: &str) -> Value {
    serde_saphyr::from_str(yaml).expect("a CustomResourceDefinition")
}

#[test]
fn since_every_release_the_crd_has_only_got_additions() {
    let now = definition(&crd_yaml().expect("a CRD"));
    for release in releases() {
        let found = compare_definitions(&definition(&read(&release.join("crd.yaml"))), &now);
        assert!(found.is_empty(), "objects of {} would suffer:\n{}", release.display(), found.join("\n"));
    }
}

#[test]
fn a_change_that_is_no_addition_is_found() {
    let crd = definition(&crd_yaml().expect("a CRD"));
    let schema = "/spec/versions/0/schema/openAPIV3Schema/properties";
    let rule = |rule: &str| json!({ "rule": rule, "message": "no" });
    for (place, value, expected) in [
        ("spec/properties/parallelism/maximum", json!(10), "maximum was 1000"),
        ("spec/properties/parallelism/minimum", json!(2), "minimum was 1"),
        ("spec/properties/parallelism/multipleOf", json!(2), "multipleOf was absent"),
        ("spec/properties/parallelism/type", json!("string"), "type was \"integer\""),
        ("spec/properties/parallelism/default", json!(4), "default was 2"),
        ("spec/properties/deletionPolicy/enum", json!(["Retain"]), "enum was"),
        ("spec/properties/source/properties/url/pattern", json!("^https://"), "pattern was"),
        ("spec/properties/source/properties/products/items/properties", json!({}), "serialNumber is gone"),
        ("spec/required", json!(["source", "compression"]), "compression is required now"),
        ("status/properties/conditions/x-kubernetes-list-type", json!("atomic"), "x-kubernetes-list-type was"),
        ("status/properties/conditions/items/properties/reason/maxLength", json!(5), "maxLength was"),
        ("spec/properties/compression/x-kubernetes-validations/0", rule("self.minQuality > 50"), "a rule is new"),
    ] {
        let mut changed = crd.clone();
        let (parent, key) = place.rsplit_once('/').expect("a path");
        match changed.pointer_mut(&format!("{schema}/{parent}")).unwrap_or_else(|| panic!("{place}")) {
            Value::Object(parent) => drop(parent.insert(key.to_owned(), value)),
            list => list[key.parse::<usize>().expect("an index")] = value,
        }
        let found = compare_definitions(&crd, &changed);
        assert!(found.iter().any(|it| it.contains(expected)), "{place}: {found:?}");
    }
    for (place, value) in [
        ("/spec/versions/0/served", json!(false)),
        ("/spec/versions/0/subresources/scale/specReplicasPath", json!(".spec.pods")),
        ("/spec/scope", json!("Cluster")),
    ] {
        let mut changed = crd.clone();
        *changed.pointer_mut(place).unwrap_or_else(|| panic!("{place}")) = value;
        assert_ne!(compare_definitions(&crd, &changed), [""; 0], "{place}");
    }
}

#[test]
fn an_addition_is_let_through() {
    let crd = definition(&crd_yaml().expect("a CRD"));
    let mut changed = crd.clone();
    let spec = &mut changed["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    spec["properties"]["colour"] = json!({ "type": "string", "maxLength": 10, "default": "red" });
    spec["properties"]["parallelism"]["maximum"] = json!(5_000);
    spec["properties"]["deletionPolicy"]["enum"].as_array_mut().expect("a list").push(json!("Ask"));
    spec["x-kubernetes-validations"]
        .as_array_mut()
        .expect("rules")
        .push(json!({ "rule": "!has(self.colour) || self.colour != 'blue'", "message": "no" }));
    assert_eq!(compare_definitions(&crd, &changed), [""; 0]);
}

#[tokio::test]
async fn batches_of_every_release_are_read_and_brought_to_their_end() {
    let harness = Harness::start().await;
    for release in releases() {
        let running = create(&harness, &read(&release.join("running.yaml"))).await;
        let finished = create(&harness, &read(&release.join("finished.yaml"))).await;
        let _controller = harness.controller().await;
        harness.run_job(&running.name_any(), Stage::Run).await;
        let ended = harness.wait_finished(&running.name_any()).await;
        assert_eq!(condition(&ended, "Succeeded"), "True/Completed");
        let started = |it: &ImageBatch| it.status.as_ref().and_then(|it| it.start_time.clone());
        assert_eq!(started(&ended), started(&running), "it is the same run");
        harness.delete_with_jobs(&ended).await;
        let after = harness.batches().get(&finished.name_any()).await.expect("it exists");
        assert_eq!(after.status, finished.status, "nothing of it changes any more");
        harness.delete_with_jobs(&after).await;
    }
}

impl Harness {
    async fn delete_with_jobs(&self, batch: &ImageBatch) {
        let _collector = self.collect_jobs();
        self.delete(batch).await;
    }
}

/// Creates an ImageBatch with its status, and returns how this release reads it.
async fn create(harness: &Harness, yaml: &str) -> ImageBatch {
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let yaml = yaml.replace("@ORIGIN@", harness.origin.url("").trim_end_matches('/')).replace("@START@", &now);
    let object: Value = serde_saphyr::from_str(&yaml).expect("an ImageBatch");
    let api = dynamic(harness);
    let created = serde_json::from_value(object.clone()).expect("an object");
    let created = api.create(&PostParams::default(), &created).await.expect("an older object is accepted");
    let (name, uid) = (created.name_any(), created.uid().expect("a uid"));
    let status = object["status"].to_string().replace("@UID@", &uid);
    let status: Value = serde_json::from_str(&status).expect("a status");
    // By the field manager that wrote it.
    let patch = json!({ "apiVersion": object["apiVersion"], "kind": object["kind"], "status": status });
    let params = PatchParams::apply("imagebatch-controller").force();
    let patched = api.patch_status(&name, &params, &Patch::Apply(patch)).await.expect("an older status is accepted");
    // Fields that came later have their defaults.
    for (field, value) in status.as_object().expect("fields") {
        assert_eq!(&patched.data["status"][field], value, "{field} is not pruned");
    }
    harness.batches().get(&name).await.expect("this release reads it")
}
