//! Plays the parts of Kubernetes' Job controller and kubelet: runs what a Job's pod would run as a
//! process of this machine, and writes the Job's status. (The end-to-end tests use the real ones.)

use std::process::Stdio;

use futures::StreamExt;
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobStatus, UncountedTerminatedPods};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use tokio::process::{Child, Command};

use super::process::append;
use super::{Harness, PATIENCE, Running};
use imagebatch::api::stage::Stage;

impl Harness {
    /// Returns the Jobs of the test's namespace.
    pub(crate) fn jobs(&self) -> Api<Job> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Waits for a stage's Job and returns it.
    pub(crate) async fn wait_job(&self, batch: &str, stage: Stage) -> Job {
        self.wait_job_until(&stage.job_name(batch), "created", |_| true).await
    }

    /// Starts the process of one of the Job's pods.
    pub(crate) fn start_pod(&self, job: &Job, index: i32) -> Child {
        let container = &job.spec.as_ref().and_then(|it| it.template.spec.as_ref()).expect("a pod").containers[0];
        let command = container.command.as_ref().expect("a command");
        assert_eq!(command[0], "/usr/local/bin/compressor");
        let variables = container.env.iter().flatten();
        let variables = variables.map(|it| (it.name.clone(), it.value.clone().unwrap_or_default()));
        let index = ("JOB_COMPLETION_INDEX".to_owned(), index.to_string());
        // As its control group would tell it.
        let limit = &container.resources.as_ref().and_then(|it| it.limits.as_ref()).expect("limits")["memory"].0;
        let gibibytes: u64 = limit.strip_suffix("Gi").and_then(|it| it.parse().ok()).expect("gibibytes");
        let limit = ("IMAGEBATCH_MEMORY_LIMIT_BYTES".to_owned(), (gibibytes << 30).to_string());
        self.compressor(&command[1..], variables.chain([index, limit]))
    }

    /// Starts the compressor's executable as a pod of this installation would.
    pub(crate) fn compressor(
        &self,
        arguments: &[impl AsRef<std::ffi::OsStr>],
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Child {
        let mut process = Command::new(env!("CARGO_BIN_EXE_compressor"));
        process.args(arguments).env_clear().envs(self.environment()).envs(variables);
        process.envs(self.pod_variables.iter().cloned());
        let log = self.pod_log.as_ref().map_or_else(Stdio::null, append);
        process.stdout(Stdio::null()).stderr(log).kill_on_drop(true);
        process.spawn().expect("the compressor starts")
    }

    /// Runs every pod of a stage's Job to its end and completes the Job.
    pub(crate) async fn run_job(&self, batch: &str, stage: Stage) {
        let job = self.wait_job(batch, stage).await;
        let completions = job.spec.as_ref().and_then(|it| it.completions).unwrap_or(1);
        for index in 0..completions {
            let ended = tokio::time::timeout(PATIENCE, self.start_pod(&job, index).wait()).await;
            let status = ended.expect("the pod ends").expect("it can be waited for");
            assert!(status.success(), "pod {index} of {} ended with {status}", job.name_any());
        }
        self.end_job(&job, "Complete", None).await;
    }

    /// Writes a Job's end, `Complete` or `Failed`, into its status.
    pub(crate) async fn end_job(&self, job: &Job, type_: &str, reason: Option<&str>) {
        let now = || Some(Time(Timestamp::now()));
        // It may not change once it is set.
        let started = self.jobs().get(&job.name_any()).await.expect("it exists").status.and_then(|it| it.start_time);
        let completed = type_ == "Complete";
        let condition = |type_: &str| JobCondition {
            type_: type_.to_owned(),
            status: "True".to_owned(),
            reason: reason.map(str::to_owned),
            last_probe_time: now(),
            last_transition_time: now(),
            message: None,
        };
        let completions = job.spec.as_ref().and_then(|it| it.completions).unwrap_or(1);
        let indexed = job.spec.as_ref().is_some_and(|it| it.completion_mode.as_deref() == Some("Indexed"));
        let status = JobStatus {
            start_time: started.or_else(now),
            completion_time: completed.then(now).flatten(),
            succeeded: completed.then_some(completions),
            failed: (!completed).then_some(1),
            completed_indexes: (completed && indexed).then(|| match completions {
                1 => "0".to_owned(),
                more => format!("0-{}", more - 1),
            }),
            uncounted_terminated_pods: Some(UncountedTerminatedPods::default()),
            conditions: Some(vec![
                condition(if completed { "SuccessCriteriaMet" } else { "FailureTarget" }),
                condition(type_),
            ]),
            ..JobStatus::default()
        };
        let patch = Patch::Merge(serde_json::json!({ "status": status }));
        self.jobs()
            .patch_status(&job.name_any(), &PatchParams::default(), &patch)
            .await
            .expect("the API server accepts the Job's status");
    }

    /// Takes the finalizer of foreground deletions off the Jobs, as the garbage collector does once
    /// their pods are gone, until the guard is dropped.
    pub(crate) fn collect_jobs(&self) -> Running {
        let jobs = self.jobs();
        Running(tokio::spawn(async move {
            let mut deleted = watcher(jobs.clone(), watcher::Config::default()).applied_objects().boxed();
            while let Some(job) = deleted.next().await {
                let job = job.expect("the watch goes on");
                if job.metadata.deletion_timestamp.is_some() && !job.finalizers().is_empty() {
                    let patch = Patch::Merge(serde_json::json!({ "metadata": { "finalizers": null } }));
                    jobs.patch(&job.name_any(), &PatchParams::default(), &patch).await.expect("the Job can be patched");
                }
            }
        }))
    }
}
