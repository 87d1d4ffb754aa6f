//! The promises, held against what is there after the batch's end. Pure.

use std::collections::{BTreeMap, BTreeSet};

use mongodb::bson::Document;
use serde_json::{Value, json};

use crate::world::Row;

/// Everything that a batch left.
pub(crate) struct Ending<'a> {
    pub(crate) rows: &'a [Row],
    pub(crate) status: &'a Value,
    pub(crate) outcomes: Vec<Document>,
    pub(crate) products: usize,
    pub(crate) deliveries: Vec<Document>,
    pub(crate) output: String,
    /// How often each image was written.
    pub(crate) puts: BTreeMap<String, usize>,
    pub(crate) webhook_ids: Vec<String>,
    pub(crate) uid: &'a str,
}

/// One image, in the record or in the report.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Slot {
    output_url: String,
    reason: String,
}

impl Ending<'_> {
    /// Returns the counts, and every promise that is broken.
    pub(crate) fn check(&self) -> (Value, Vec<String>) {
        let mut violations = Vec::new();
        let mut broken = |violation: String| violations.push(violation);
        let (recorded, reported) = (self.recorded(), self.reported());
        let (mut lost, mut succeeded, mut failed, mut unequal) = (0, 0, 0, 0);
        for (index, row) in self.rows.iter().enumerate() {
            let number = index as i64 + 1;
            let Some(slots) = recorded.get(&number).filter(|slots| slots.len() == row.urls.len()) else {
                lost += row.urls.len();
                broken(format!("row {number}: {} images and no outcome of each", row.urls.len()));
                continue;
            };
            for (slot, url) in slots.iter().zip(&row.urls) {
                let is_success = slot.reason.is_empty();
                succeeded += i64::from(is_success);
                failed += i64::from(!is_success);
                if slot.reason != row.reason.unwrap_or_default() {
                    broken(format!("{url}: {slot:?}, expected {:?}", row.reason));
                }
                let key = slot.output_url.split_once("/images/").map(|(_, key)| key);
                let stored = key.is_some_and(|key| self.puts.contains_key(key));
                if is_success != stored {
                    lost += usize::from(is_success);
                    broken(format!("{url}: {slot:?}, stored: {stored}"));
                }
            }
            if reported.get(index) != Some(slots) {
                unequal += 1;
                broken(format!("row {number}: the report says {:?}, the record {slots:?}", reported.get(index)));
            }
        }
        let twice: Vec<_> = self.puts.iter().filter(|(_, count)| **count > 1).collect();
        for (key, count) in &twice {
            broken(format!("{key} was written {count} times"));
        }
        for (what, found, expected) in [
            ("rows of the report", reported.len(), self.rows.len()),
            ("outcome records", self.outcomes.len(), self.rows.len()),
            ("product records", self.products, self.rows.len()),
            ("deliveries", self.deliveries.len(), 1),
        ] {
            if found != expected {
                broken(format!("{found} {what}, not {expected}"));
            }
        }
        for (name, count) in [("succeeded", succeeded), ("failed", failed), ("images", succeeded + failed)] {
            if self.status[name] != count {
                broken(format!("the status says {name} {}, the records {count}", self.status[name]));
            }
        }
        let ids: BTreeSet<&str> = self.webhook_ids.iter().map(String::as_str).collect();
        if ids != BTreeSet::from([format!("msg_{}", self.uid).as_str()]) || self.webhook_ids.len() < 2 {
            broken(format!("webhooks came with the ids {:?}", self.webhook_ids));
        }
        let counts = json!({
            "images": succeeded + failed, "succeeded": succeeded, "failed": failed,
            "puts": self.puts.values().sum::<usize>(), "putTwice": twice.len(),
            "outcomes": self.outcomes.len(), "products": self.products,
            "webhooksSent": self.webhook_ids.len(), "webhookIds": ids.len(),
            "lost": lost, "unequal": unequal,
        });
        (counts, violations)
    }

    fn recorded(&self) -> BTreeMap<i64, Vec<Slot>> {
        let slot = |image: &Document| Slot {
            output_url: image.get_str("outputUrl").unwrap_or_default().to_owned(),
            reason: image.get_str("reason").unwrap_or_default().to_owned(),
        };
        let row = |record: &Document| {
            let images = record.get_array("images").into_iter().flatten();
            (record.get_i64("row").unwrap_or_default(), images.filter_map(|it| it.as_document()).map(slot).collect())
        };
        self.outcomes.iter().map(row).collect()
    }

    fn reported(&self) -> Vec<Vec<Slot>> {
        let mut reader = csv::Reader::from_reader(self.output.as_bytes());
        let row = |record: csv::StringRecord| {
            let urls = record.get(3).unwrap_or_default().split(',');
            let mut slots: Vec<Slot> =
                urls.map(|url| Slot { output_url: url.to_owned(), reason: String::new() }).collect();
            for error in record.get(4).unwrap_or_default().split(',').filter(|it| !it.is_empty()) {
                let (slot, reason) = error.split_once(':').unwrap_or_default();
                if let Some(slot) = slot.parse().ok().and_then(|it: usize| slots.get_mut(it.wrapping_sub(1))) {
                    reason.clone_into(&mut slot.reason);
                }
            }
            slots
        };
        reader.records().filter_map(Result::ok).map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use mongodb::bson::doc;

    use super::*;

    type Break = fn(&mut Ending<'_>);

    #[test]
    fn what_is_broken_is_seen() {
        let rows = [
            Row { urls: vec!["http://a/1.jpg".into(), "http://a/2.jpg".into()], reason: None },
            Row { urls: vec!["http://bad/3.jpg".into()], reason: Some("FetchTimeout") },
        ];
        let image = |key: &str| doc! { "outputUrl": format!("http://cdn/images/{key}") };
        let status = json!({ "succeeded": 2, "failed": 1, "images": 3 });
        let good = || Ending {
            rows: &rows,
            status: &status,
            outcomes: vec![
                doc! { "row": 1_i64, "images": [image("u/1.jpg"), image("u/2.jpg")] },
                doc! { "row": 2_i64, "images": [{ "reason": "FetchTimeout" }] },
            ],
            products: 2,
            deliveries: vec![doc! {}],
            output:
                "a,b,c,d,e\n1,x,y,\"http://cdn/images/u/1.jpg,http://cdn/images/u/2.jpg\",\n2,x,y,,1:FetchTimeout\n"
                    .into(),
            puts: [("u/1.jpg".to_owned(), 1), ("u/2.jpg".to_owned(), 1)].into(),
            webhook_ids: vec!["msg_u".into(); 2],
            uid: "u",
        };
        assert_eq!(good().check().1, [""; 0]);
        let broken: [(&str, Break); 8] = [
            ("no outcome", |it| drop(it.outcomes.remove(0))),
            ("written 2 times", |it| it.puts = [("u/1.jpg".to_owned(), 2), ("u/2.jpg".to_owned(), 1)].into()),
            ("stored: false", |it| it.puts = [("u/1.jpg".to_owned(), 1)].into()),
            ("expected None", |it| it.outcomes[0] = doc! { "row": 1_i64, "images": [{ "reason": "HostFailed" }, {}] }),
            ("the report says", |it| it.output = it.output.replace("2.jpg\"", "1.jpg\"")),
            ("the status says", |it| it.status = &Value::Null),
            ("1 product records", |it| it.products = 1),
            ("webhooks came", |it| it.webhook_ids.push("msg_other".into())),
        ];
        for (said, breaks) in broken {
            let mut ending = good();
            breaks(&mut ending);
            let violations = ending.check().1;
            assert!(violations.iter().any(|it| it.contains(said)), "{said}: {violations:?}");
        }
    }
}
