//! What the cluster's own parts say of their work: requests to the API server, and the size of etcd and of
//! the database.

use mongodb::bson::doc;
use serde_json::{Value, json};

use crate::cluster::{database, kubectl};

pub(crate) struct Figures {
    api_requests: f64,
    etcd_bytes: f64,
    mongodb_bytes: f64,
}

impl Figures {
    pub(crate) async fn read() -> Self {
        let metrics = kubectl(&["get", "--raw", "/metrics"]);
        let sum = |name: &str| -> f64 {
            let lines = metrics.lines().filter(|it| it.starts_with(&format!("{name}{{")));
            lines.filter_map(|it| it.rsplit(' ').next()?.parse::<f64>().ok()).sum()
        };
        let (_forward, database) = database().await;
        let stats = database.run_command(doc! { "dbStats": 1 }).await.expect("MongoDB answers");
        let number = |name: &str| stats.get_f64(name).or_else(|_| stats.get_i64(name).map(|it| it as f64));
        Self {
            api_requests: sum("apiserver_request_total"),
            etcd_bytes: sum("apiserver_storage_size_bytes"),
            mongodb_bytes: number("dataSize").or_else(|_| stats.get_i32("dataSize").map(f64::from)).expect("a size"),
        }
    }

    /// Returns what has come since then.
    pub(crate) fn since(&self, before: &Self, images: usize) -> Value {
        let requests = self.api_requests - before.api_requests;
        json!({
            "apiRequests": requests,
            "apiRequestsPerImage": (requests / images as f64 * 1e4).round() / 1e4,
            "etcdGrowthBytes": self.etcd_bytes - before.etcd_bytes,
            "mongodbGrowthBytes": self.mongodb_bytes - before.mongodb_bytes,
        })
    }
}
