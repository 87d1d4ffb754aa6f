//! Every change of an object, as the storage server itself has written it down: SeaweedFS's filer keeps a
//! log of its metadata, which outlives its process.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use crate::cluster::{try_kubectl, wait_until};

/// All writes that were read so far; several readings may overlap.
#[derive(Default)]
pub(crate) struct History {
    writes: BTreeSet<(i64, String)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    directory: String,
    event_notification: Event,
    ts_ns: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    new_entry: Option<New>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct New {
    name: String,
    #[serde(default)]
    is_directory: bool,
}

impl History {
    /// Reads what the server has written down in the last hours.
    pub(crate) async fn read(&mut self) {
        let tail = ["/usr/bin/weed", "filer.meta.tail", "-filer=127.0.0.1:8888", "-pathPrefix=/buckets/"];
        let command = [&["exec", "imagebatch-s3-0", "--"][..], &tail, &["-timeAgo=3h", "-untilTimeAgo=1s"]].concat();
        let mut log = String::new();
        // A kubelet that has just started does not know its pods yet.
        wait_until("the storage server's history", || {
            log = try_kubectl(&command, "").unwrap_or_default();
            !log.is_empty()
        })
        .await;
        for entry in serde_json::Deserializer::from_str(&log).into_iter::<Entry>() {
            let Entry { directory, event_notification, ts_ns } = entry.expect("an entry of the history");
            let Some(New { name, is_directory: false }) = event_notification.new_entry else { continue };
            let time = ts_ns.as_str().map_or_else(|| ts_ns.as_i64(), |text| text.parse().ok()).expect("a time");
            self.writes.insert((time, format!("{directory}/{name}")));
        }
    }

    /// Returns how often each image of a batch was written.
    pub(crate) fn puts(&self, uid: &str) -> BTreeMap<String, usize> {
        let mut puts = BTreeMap::new();
        for (_, path) in &self.writes {
            let is_image = path.contains(uid) && !path.contains(&format!("{uid}/batch/"));
            if let Some((_, key)) = path.split_once("/imagebatch/").filter(|_| is_image) {
                *puts.entry(key.to_owned()).or_default() += 1;
            }
        }
        puts
    }
}
