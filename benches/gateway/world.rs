//! What the gateway works with: a namespace of the run's own, a user with an API key and the rights of a user, and
//! a batch that runs.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use imagebatch::api::api_key::{self, Owner};
use imagebatch::api::image_batch::ImageBatch;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource};
use secrecy::ExposeSecret;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::cluster;
use crate::load::Target;
use crate::process::Running;

const KEYS: &str = "imagebatch-api-keys";
const USER: &str = "shop";
/// A limit that is counted and never reached.
const NO_LIMIT: u32 = 100_000_000;

/// The surroundings.
pub(crate) struct World {
    client: Client,
    pub(crate) namespace: String,
    /// The user's API key.
    key: String,
    folder: PathBuf,
}

/// A gateway at work.
pub(crate) struct Gateway {
    pub(crate) process: Running,
    pub(crate) address: SocketAddr,
}

impl World {
    pub(crate) async fn start() -> Result<Self> {
        let client = cluster::connect().await?;
        let namespace = format!("bench-{}", uuid::Uuid::now_v7().simple());
        let object: Namespace = serde_json::from_value(json!({ "metadata": { "name": namespace } }))?;
        Api::all(client.clone()).create(&PostParams::default(), &object).await?;
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("gateway");
        std::fs::create_dir_all(&folder)?;

        let expires = Timestamp::now() + SignedDuration::from_hours(1);
        let owner = Owner { user: USER.to_owned(), groups: Vec::new(), namespace: Some(namespace.clone()), expires };
        let mut keys = Secret::default();
        let key = api_key::add(&mut keys, USER, owner)?;
        let world = Self { client, namespace, key: key.expose_secret().to_owned(), folder };
        world.create::<Secret>(json!({ "metadata": { "name": KEYS }, "data": keys.data })).await?;
        let rules =
            json!([{ "apiGroups": ["imagebatch.io"], "resources": ["imagebatches"], "verbs": ["create", "get"] }]);
        world.create::<Role>(json!({ "metadata": { "name": USER }, "rules": rules })).await?;
        let user = json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": USER });
        let granted = json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": USER });
        world
            .create::<RoleBinding>(json!({ "metadata": { "name": USER }, "roleRef": granted, "subjects": [user] }))
            .await?;
        Ok(world)
    }

    async fn create<K>(&self, object: Value) -> Result<()>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + std::fmt::Debug,
        K: Serialize + DeserializeOwned,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), &self.namespace);
        api.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
        Ok(())
    }

    /// Starts a gateway that tells callers apart as `authentication` says. Its log, at the default level, goes to a
    /// file, and nobody reaches its limits of requests.
    pub(crate) async fn gateway(&self, authentication: &str) -> Result<Gateway> {
        let limits = ["REQUESTS_PER_MINUTE", "UPLOADS_PER_MINUTE", "REQUESTS_PER_MINUTE_AND_ADDRESS"];
        let limits = limits.map(|it| format!("IMAGEBATCH_{it}"));
        let mut variables = vec![
            ("IMAGEBATCH_AUTHENTICATION", authentication.to_owned()),
            ("IMAGEBATCH_MONGODB_DATABASE", self.namespace.replace('-', "_")),
        ];
        variables.extend(limits.iter().map(|it| (it.as_str(), NO_LIMIT.to_string())));
        if authentication == "api-key" {
            variables.push(("IMAGEBATCH_API_KEYS_SECRET", KEYS.to_owned()));
        }
        let log = File::create(self.folder.join(format!("{authentication}.log")))?;
        let (process, address) = Running::gateway(&self.namespace, &variables, log).await?;
        Ok(Gateway { process, address })
    }

    /// Returns what asks a server for a path.
    pub(crate) fn target(&self, address: SocketAddr, path: String) -> Target {
        Target { address, path, key: self.key.clone() }
    }

    /// Returns an upload that can be sent.
    pub(crate) fn upload(&self, client: &reqwest::Client, gateway: &Gateway) -> reqwest::RequestBuilder {
        let url = format!("http://{}/v1/batches", gateway.address);
        client.post(url).bearer_auth(&self.key).header("content-type", "text/csv")
    }

    /// Uploads a CSV and makes its batch one that runs; returns its id.
    pub(crate) async fn running_batch(&self, gateway: &Gateway) -> Result<String> {
        let client = reqwest::Client::builder().no_proxy().build()?;
        let response = self.upload(&client, gateway).body(csv(1_000, "")).send().await?.error_for_status()?;
        let answer: Value = response.json().await?;
        let id = answer["id"].as_str().context("an id")?.to_owned();
        self.progress(&id, 700).await?;
        Ok(id)
    }

    /// Writes what a controller writes of a batch of 2,000 images of which so many are done.
    pub(crate) async fn progress(&self, id: &str, succeeded: i64) -> Result<()> {
        let condition = |type_: &str, status: &str, reason: &str, message: &str| {
            json!({
                "type": type_, "status": status, "reason": reason, "message": message,
                "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1,
            })
        };
        let failure = |row: i64| {
            json!({
                "row": row, "image": 1, "reason": "HttpNotFound",
                "detail": format!("https://images.shop.example/products/{row}/front.jpg"),
            })
        };
        let status = json!({
            "observedGeneration": 1, "rows": 1_000, "images": 2_000, "succeeded": succeeded, "failed": 3, "active": 2,
            "conditions": [
                condition("Accepted", "True", "Accepted", "the source is accepted"),
                condition("Succeeded", "Unknown", "Running", "the images are being worked on"),
            ],
            "bytesIn": succeeded * 120_000, "bytesOut": succeeded * 45_000, "bytesSaved": succeeded * 75_000,
            "saved": "62%", "percent": format!("{}%", succeeded / 20), "imagesPerMinute": 900,
            "startTime": "2026-01-01T00:00:00Z", "failures": [failure(17), failure(230), failure(411)],
        });
        let batches: Api<ImageBatch> = Api::namespaced(self.client.clone(), &self.namespace);
        let patch = Patch::Merge(json!({ "status": status }));
        batches.patch_status(id, &PatchParams::default(), &patch).await?;
        Ok(())
    }
}

impl Running {
    /// Returns the seconds of CPU time that the process has had.
    pub(crate) fn cpu_seconds(&self) -> Result<f64> {
        let stat = procfs::process::Process::new(self.child.id() as i32)?.stat()?;
        Ok((stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64)
    }
}

/// Returns a CSV of products with two URLs each.
pub(crate) fn csv(rows: usize, description: &str) -> String {
    let rows = (1..=rows).map(|row| {
        let url = |view: &str| format!("https://images.shop.example/products/{row}/{view}.jpg");
        format!("{row},Product {row},\"{},{}\",{description}\n", url("front"), url("back"))
    });
    format!("S. No.,Product Name,Input Image Urls,Description\n{}", rows.collect::<String>())
}
