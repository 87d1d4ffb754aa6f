//! What every test stands on: the servers of `tests/cluster/services`, and in them a namespace, a
//! database and a storage prefix of the test's own, so that tests run side by side.

pub(crate) mod azure;
pub(crate) mod bombs;
pub(crate) mod google;
pub(crate) mod origin;
pub(crate) mod pods;
pub(crate) mod process;
pub(crate) mod proxy;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use futures::TryStreamExt;
use imagebatch::api::image_batch::{ImageBatch, ImageBatchSpec, crd_yaml};
use imagebatch::api::status::ImageBatchStatus;
use imagebatch::controller::{self, context::Context, context::ControllerArgs};
use imagebatch::gateway::{
    self,
    auth::Auth,
    state::{AppState, Settings},
};
use imagebatch::manifest::source::Limits;
use imagebatch::records::{Records, RecordsArgs};
use imagebatch::storage::args::{Provider, S3Args};
use imagebatch::storage::{Storage, StorageArgs};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, ResourceQuota};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Client, ResourceExt};
use object_store::ObjectStore;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use origin::Origin;
use serde_json::json;

/// No wait of a test is longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

const PROVIDER: &str = "IMAGEBATCH_STORAGE_PROVIDER";
/// What only the compressor is told.
const EGRESS: &[&str] = &["IMAGEBATCH_EGRESS_ALLOW_CIDRS", "IMAGEBATCH_EGRESS_ALLOW_PORTS"];

/// A test's surroundings.
pub(crate) struct Harness {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) storage: Storage,
    pub(crate) records: Records,
    pub(crate) origin: Origin,
    environment: BTreeMap<String, String>,
    /// Further variables of pods.
    pub(crate) pod_variables: Vec<(String, String)>,
    /// Where pods write their logs to; by default nowhere.
    pub(crate) pod_log: Option<PathBuf>,
}

#[derive(Parser)]
struct Stores {
    #[command(flatten)]
    storage: StorageArgs,
    #[command(flatten)]
    records: RecordsArgs,
}

#[derive(Parser)]
struct Controller {
    #[command(flatten)]
    args: ControllerArgs,
}

impl Harness {
    /// Connects to the servers and makes a namespace.
    pub(crate) async fn start() -> Self {
        Self::start_with(Vec::new()).await
    }

    /// Does so with further variables. If they choose another provider of storage, those of S3 are not handed on.
    pub(crate) async fn start_with(variables: Vec<(&str, String)>) -> Self {
        let id = uuid::Uuid::now_v7().simple().to_string();
        let namespace = format!("it-{id}");
        let database = format!("it_{id}");
        let prefix = format!("it/{id}");
        let mut environment: BTreeMap<String, String> = [
            "IMAGEBATCH_S3_ENDPOINT",
            "IMAGEBATCH_S3_ACCESS_KEY_ID",
            "IMAGEBATCH_S3_SECRET_ACCESS_KEY",
            "IMAGEBATCH_STORAGE_BUCKET",
            "IMAGEBATCH_MONGODB_URI",
        ]
        .into_iter()
        .map(|name| {
            let value =
                std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run the tests by tests/run it"));
            (name.to_owned(), value)
        })
        .collect();
        environment.insert("IMAGEBATCH_STORAGE_PREFIX".to_owned(), prefix);
        environment.insert("IMAGEBATCH_MONGODB_DATABASE".to_owned(), database);
        environment.insert("IMAGEBATCH_PUBLIC_BASE_URL".to_owned(), "https://cdn.example/images".to_owned());
        environment.insert("IMAGEBATCH_EGRESS_ALLOW_CIDRS".to_owned(), "127.0.0.0/8".to_owned());
        environment.insert("IMAGEBATCH_EGRESS_ALLOW_PORTS".to_owned(), "1024-65535".to_owned());

        environment.extend(variables.into_iter().map(|(name, value)| (name.to_owned(), value)));
        if environment.contains_key(PROVIDER) {
            environment.retain(|name, _| !name.starts_with("IMAGEBATCH_S3_"));
        }

        // Both are installed once in the process; a second test finds them there.
        let _ = tracing_subscriber::fmt()
            .with_env_filter(std::env::var("TEST_LOG").unwrap_or_else(|_| "imagebatch=info,warn".to_owned()))
            .with_test_writer()
            .try_init();
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut stores = Stores::parse_from(flags(&environment, EGRESS));
        without_other_providers(&mut stores.storage);
        let client = Client::try_default().await.expect("KUBECONFIG points at the tests' API server");
        ensure_crd(&client).await;
        let object = Namespace {
            metadata: kube::api::ObjectMeta { name: Some(namespace.clone()), ..Default::default() },
            ..Default::default()
        };
        Api::<Namespace>::all(client.clone())
            .create(&PostParams::default(), &object)
            .await
            .expect("the namespace is new");
        let records = Records::new(&stores.records, imagebatch::records::Patience::Short).await.expect("a MongoDB URI");
        records.ensure_indexes().await.expect("MongoDB answers");
        Self {
            storage: Storage::new(&stores.storage).expect("storage arguments"),
            records,
            origin: Origin::start().await,
            client,
            namespace,
            environment,
            pod_variables: Vec::new(),
            pod_log: None,
        }
    }

    /// Returns the environment of a process of the installation, as the chart's Secret gives it.
    pub(crate) fn environment(&self) -> &BTreeMap<String, String> {
        &self.environment
    }

    /// Changes a variable of the processes that are started from here on.
    pub(crate) fn set(&mut self, name: &str, value: String) {
        self.environment.insert(name.to_owned(), value);
    }

    /// Returns the ImageBatches of the test's namespace.
    pub(crate) fn batches(&self) -> Api<ImageBatch> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Runs a controller for the test's namespace until the guard is dropped.
    pub(crate) async fn controller(&self) -> Running {
        self.controller_of(self.batches()).await
    }

    /// Lets a controller with further variables try its worker pods, as it does when it starts.
    pub(crate) async fn check_worker_pod(&self, variables: &[(&str, &str)]) -> Result<(), String> {
        let context = self.context_with(self.client.clone(), variables).await;
        controller::probe::check_worker_pod(&context).await.map_err(|error| format!("{error:#}"))
    }

    /// Runs a controller that works in the test's namespace and watches these batches.
    pub(crate) async fn controller_of(&self, batches: Api<ImageBatch>) -> Running {
        Running(tokio::spawn(run_controller(batches, self.controller_context().await)))
    }

    /// Runs a controller of the test's namespace with further variables, until the guard is dropped.
    pub(crate) async fn controller_with(&self, variables: &[(&str, &str)]) -> Running {
        let context = self.context_with(self.client.clone(), variables).await;
        Running(tokio::spawn(run_controller(self.batches(), context)))
    }

    /// Runs a controller of the test's namespace that speaks to the API server by this client.
    pub(crate) async fn controller_by(&self, client: Client) -> Running {
        let batches = Api::namespaced(client.clone(), &self.namespace);
        let context = self.context_with(client, &[]).await;
        Running(tokio::spawn(run_controller(batches, context)))
    }

    /// Returns a controller's context with further variables, whose requests go by this client.
    pub(crate) async fn context_with(&self, client: Client, variables: &[(&str, &str)]) -> Context {
        let mut environment = self.environment.clone();
        environment.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        controller_context(client, &self.namespace, &environment).await
    }

    /// Removes uploads of the test's namespace that no batch claims, as the controller does now and then.
    pub(crate) async fn collect_uploads(&self, grace: Duration) -> usize {
        let context = self.controller_context().await;
        controller::collect::collect_uploads(&context, grace).await.expect("the servers answer")
    }

    /// Returns the clients and settings of a controller for the test's namespace.
    pub(crate) async fn controller_context(&self) -> Context {
        controller_context(self.client.clone(), &self.namespace, &self.environment).await
    }

    /// Runs a gateway for the test's namespace; returns its URL and a guard that ends it.
    pub(crate) async fn gateway(&self) -> (String, Running) {
        let settings = Settings {
            namespace: self.namespace.clone(),
            namespaces: vec![self.namespace.clone()],
            limits: Limits { max_rows: 5_000, max_bytes: 1 << 20, ..Limits::default() },
            max_concurrent_uploads: 4,
            max_event_streams: 8,
            ..Settings::default()
        };
        let state =
            AppState::new(settings, Auth::none(), self.storage.clone(), self.records.clone(), self.client.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let serve = async move { axum::serve(listener, gateway::router(state)).await.expect("the gateway serves") };
        (url, Running(tokio::spawn(serve)))
    }

    /// Creates an ImageBatch from the YAML of a spec.
    pub(crate) async fn create(&self, name: &str, spec: &str) -> ImageBatch {
        let spec: ImageBatchSpec = serde_saphyr::from_str(spec).expect("a spec");
        let batch = ImageBatch::new(name, spec);
        self.batches().create(&PostParams::default(), &batch).await.expect("the API server accepts the ImageBatch")
    }

    /// Waits until the batch fulfils the condition and returns it.
    pub(crate) async fn wait(&self, name: &str, what: &str, met: impl Fn(&ImageBatch) -> bool) -> ImageBatch {
        let condition = |batch: Option<&ImageBatch>| batch.is_some_and(&met);
        let waited = tokio::time::timeout(PATIENCE, await_condition(self.batches(), name, condition)).await;
        if let Ok(batch) = waited {
            return batch.expect("the watch goes on").expect("the batch exists");
        }
        let batch = self.batches().get_opt(name).await.expect("the API server answers");
        panic!("{name} did not become {what} within {PATIENCE:?}: {:#?}", batch.map(|it| it.status));
    }

    /// Waits until a Job fulfils the condition and returns it.
    pub(crate) async fn wait_job_until(&self, name: &str, what: &str, met: impl Fn(&Job) -> bool) -> Job {
        let waited = await_condition(self.jobs(), name, |job: Option<&Job>| job.is_some_and(&met));
        let waited = tokio::time::timeout(PATIENCE, waited).await;
        waited
            .unwrap_or_else(|_| panic!("Job {name} did not become {what}"))
            .expect("the watch goes on")
            .expect("it exists")
    }

    /// Waits for the condition Finished, as `kubectl wait --for=condition=Finished` does.
    pub(crate) async fn wait_finished(&self, name: &str) -> ImageBatch {
        self.wait(name, "Finished", |batch| batch.status.as_ref().is_some_and(ImageBatchStatus::is_finished)).await
    }

    /// Lets a quota of that name allow none of an API resource in the namespace.
    pub(crate) async fn forbid(&self, name: &str, resource: &str) -> Api<ResourceQuota> {
        let quotas = Api::<ResourceQuota>::namespaced(self.client.clone(), &self.namespace);
        let none = json!({ format!("count/{resource}"): "0" });
        let quota = json!({ "metadata": { "name": name }, "spec": { "hard": none } });
        let quota = serde_json::from_value(quota).expect("a quota");
        quotas.create(&PostParams::default(), &quota).await.expect("the quota is new");
        // Admission goes by the status, which nobody else writes here.
        let status = Patch::Merge(json!({ "status": { "hard": none, "used": none } }));
        quotas.patch_status(name, &PatchParams::default(), &status).await.expect("its status");
        quotas
    }

    /// Deletes a batch and waits until it is gone.
    pub(crate) async fn delete(&self, batch: &ImageBatch) {
        let name = batch.name_any();
        self.batches().delete(&name, &DeleteParams::default()).await.expect("the batch can be deleted");
        let uid = batch.uid().expect("a uid");
        let gone = conditions::is_deleted(&uid);
        tokio::time::timeout(PATIENCE, await_condition(self.batches(), &name, gone))
            .await
            .expect("the batch goes")
            .expect("the watch goes on");
    }

    /// Returns the keys of all objects of the test, without its prefix.
    pub(crate) async fn objects(&self) -> Vec<String> {
        let value = |name: &str| self.environment[name].as_str();
        let store: Box<dyn ObjectStore> = match self.environment.get(PROVIDER).map(String::as_str) {
            Some("azure") => Box::new(azure::client(value("IMAGEBATCH_STORAGE_BUCKET"))),
            // Google's is S3's in truth.
            _ => Box::new(s3_client(value("IMAGEBATCH_STORAGE_BUCKET"))),
        };
        let prefix = value("IMAGEBATCH_STORAGE_PREFIX");
        let listed: Vec<_> = store.list(Some(&prefix.into())).try_collect().await.expect("storage answers");
        let mut keys: Vec<String> = listed
            .into_iter()
            .map(|it| it.location.as_ref().trim_start_matches(prefix).trim_start_matches('/').to_owned())
            .collect();
        keys.sort();
        keys
    }
}

fn s3_client(bucket: &str) -> AmazonS3 {
    let value = |name: &str| std::env::var(name).expect("tests/run it sets it");
    AmazonS3Builder::new()
        .with_endpoint(value("IMAGEBATCH_S3_ENDPOINT"))
        .with_bucket_name(bucket)
        .with_access_key_id(value("IMAGEBATCH_S3_ACCESS_KEY_ID"))
        .with_secret_access_key(value("IMAGEBATCH_S3_SECRET_ACCESS_KEY"))
        .with_allow_http(true)
        .build()
        .expect("storage arguments")
}

/// Takes away what the variables of this process say of S3, where storage is another.
fn without_other_providers(args: &mut StorageArgs) {
    if args.storage_provider != Provider::S3 {
        args.s3 = S3Args::default();
    }
}

async fn controller_context(client: Client, namespace: &str, environment: &BTreeMap<String, String>) -> Context {
    let mut arguments = flags(environment, &[]);
    arguments.extend(["--namespaces".to_owned(), namespace.to_owned()]);
    arguments.extend(["--worker-image".to_owned(), "imagebatch:test".to_owned()]);
    let mut args = Controller::parse_from(arguments).args;
    without_other_providers(&mut args.storage);
    Context::new(client, &args).await.expect("controller arguments")
}

pub(crate) async fn run_controller(batches: Api<ImageBatch>, context: Context) {
    let (batches, context) = ([batches], Arc::new(context));
    tokio::select! {
        () = controller::run(&batches, Arc::clone(&context), std::future::pending()) => {}
        () = controller::deliver::run(&context) => {}
        () = controller::workloads::run(&context) => {}
    }
}

/// Something in the background that ends with the test.
pub(crate) struct Running(pub(crate) tokio::task::JoinHandle<()>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Returns the value of a condition of a batch, as `True/Reason`.
pub(crate) fn condition(batch: &ImageBatch, type_: &str) -> String {
    let condition = batch.status.as_ref().and_then(|it| it.condition(type_));
    condition.map_or_else(|| "absent".to_owned(), |it| format!("{}/{}", it.status, it.reason))
}

/// `IMAGEBATCH_S3_REGION` is the variable of `--s3-region`.
fn flags(environment: &BTreeMap<String, String>, without: &[&str]) -> Vec<String> {
    let mut flags = vec!["test".to_owned()];
    for (name, value) in environment.iter().filter(|(name, _)| !without.contains(&name.as_str())) {
        let flag = name.trim_start_matches("IMAGEBATCH_").to_lowercase().replace('_', "-");
        flags.push(format!("--{flag}={value}"));
    }
    flags
}

async fn ensure_crd(client: &Client) {
    let crd: CustomResourceDefinition = serde_saphyr::from_str(&crd_yaml().expect("a CRD")).expect("a CRD");
    let api = Api::<CustomResourceDefinition>::all(client.clone());
    let name = crd.name_any();
    api.patch(&name, &PatchParams::apply("it").force(), &Patch::Apply(&crd)).await.expect("the CRD is accepted");
    tokio::time::timeout(PATIENCE, await_condition(api, &name, conditions::is_crd_established()))
        .await
        .expect("the CRD becomes established")
        .expect("the watch goes on");
}
