//! What stands around a gateway: others than the harness', and what uploads leave there.

use std::collections::BTreeSet;

use axum::Router;
use axum::http::Request;
use futures::TryStreamExt;
use imagebatch::gateway;
use imagebatch::gateway::auth::Auth;
use imagebatch::gateway::state::{AppState, Settings};
use imagebatch::manifest::source::Limits;
use imagebatch::storage::StorageArgs;
use imagebatch::storage::args::{AzureArgs, GcsArgs, Provider, S3Args};
use kube::api::ListParams;
use mongodb::bson::{Document, doc};
use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::HttpRequestBody;

use crate::harness::{Harness, PATIENCE, Running};

impl Harness {
    /// Returns the settings of the harness' own gateway.
    pub(super) fn settings(&self) -> Settings {
        self.settings_within(1 << 20)
    }

    /// Returns the same settings with another limit of bytes.
    pub(super) fn settings_within(&self, max_bytes: u64) -> Settings {
        Settings {
            namespace: self.namespace.clone(),
            namespaces: vec![self.namespace.clone()],
            limits: Limits { max_rows: 5_000, max_bytes, ..Limits::default() },
            max_concurrent_uploads: 4,
            max_event_streams: 8,
            ..Settings::default()
        }
    }

    /// Returns the state of a gateway with other settings.
    pub(super) fn state(&self, settings: Settings) -> AppState {
        AppState::new(settings, Auth::none(), self.storage.clone(), self.records.clone(), self.client.clone())
    }

    /// Returns where storage is, to be changed for one that is not there.
    pub(super) fn storage_args(&self) -> StorageArgs {
        let value = |name: &str| self.environment()[name].clone();
        let url = |name: &str| value(name).parse().expect("a URL");
        StorageArgs {
            storage_provider: Provider::S3,
            storage_bucket: value("IMAGEBATCH_STORAGE_BUCKET"),
            storage_prefix: value("IMAGEBATCH_STORAGE_PREFIX"),
            s3: S3Args {
                endpoint: Some(url("IMAGEBATCH_S3_ENDPOINT")),
                region: "us-east-1".to_owned(),
                access_key_id: Some(value("IMAGEBATCH_S3_ACCESS_KEY_ID")),
                secret_access_key: Some(value("IMAGEBATCH_S3_SECRET_ACCESS_KEY").into()),
                ca_file: None,
            },
            gcs: GcsArgs::default(),
            azure: AzureArgs::default(),
            public_base_url: url("IMAGEBATCH_PUBLIC_BASE_URL"),
        }
    }

    /// Asserts that there is no trace of an upload: no object, no part of one, no batch, no record.
    pub(super) async fn assert_nothing_is_left(&self) {
        assert_eq!(self.objects().await, [""; 0]);
        assert_eq!(self.unfinished_objects().await, 0);
        let batches = self.batches().list(&ListParams::default()).await.expect("the API server answers");
        assert_eq!(batches.items.len(), 0, "{batches:?}");
        assert_eq!(self.recorded_requests().await, BTreeSet::new());
    }

    /// Returns how many objects of the test are being written in parts.
    pub(super) async fn unfinished_objects(&self) -> usize {
        let value = |name: &str| self.environment()[name].as_str();
        let (bucket, prefix) = (value("IMAGEBATCH_STORAGE_BUCKET"), value("IMAGEBATCH_STORAGE_PREFIX"));
        let url = format!("{}/{bucket}?prefix={prefix}&uploads=", value("IMAGEBATCH_S3_ENDPOINT"));
        let credential = AwsCredential {
            key_id: value("IMAGEBATCH_S3_ACCESS_KEY_ID").to_owned(),
            secret_key: value("IMAGEBATCH_S3_SECRET_ACCESS_KEY").to_owned(),
            token: None,
        };
        let mut request = Request::get(&url).body(HttpRequestBody::empty()).expect("a request");
        AwsAuthorizer::new(&credential, "s3", "us-east-1").try_authorize(&mut request, None).expect("a signature");
        let request = reqwest::Client::new().get(&url).headers(request.headers().clone());
        let response = request.send().await.expect("storage answers");
        let (status, list) = (response.status(), response.text().await.expect("a list"));
        assert_eq!(status, 200, "{list}");
        assert!(list.contains("ListMultipartUploadsResult"), "{list}");
        list.matches("<UploadId>").count()
    }

    /// Returns the ids of all requests that are recorded, which are their batches' uids.
    pub(super) async fn recorded_requests(&self) -> BTreeSet<String> {
        let value = |name: &str| self.environment()[name].as_str();
        let client = mongodb::Client::with_uri_str(value("IMAGEBATCH_MONGODB_URI")).await.expect("a MongoDB URI");
        let database = client.database(value("IMAGEBATCH_MONGODB_DATABASE"));
        let found = database.collection::<Document>("requests").find(doc! {}).await.expect("MongoDB answers");
        let records: Vec<Document> = found.try_collect().await.expect("MongoDB answers");
        records.iter().map(|it| it.get_str("_id").expect("an id").to_owned()).collect()
    }
}

/// Serves the API of a gateway in that state; returns its URL and a guard that ends it.
pub(super) async fn serve(state: AppState) -> (String, Running) {
    serve_router(gateway::router(state)).await
}

pub(super) async fn serve_router(router: Router) -> (String, Running) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    (url, Running(tokio::spawn(async move { axum::serve(listener, router).await.expect("the gateway serves") })))
}

/// Asks again until the condition is met.
pub(super) async fn until(what: &str, met: impl AsyncFn() -> bool) {
    let asked = async {
        while !met().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| panic!("{what} within {PATIENCE:?}"));
}
