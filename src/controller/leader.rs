//! Leader election by a Lease: of several controllers one works, and the others stand by.
//!
//! The rules are those of client-go's leaderelection. What a Lease's clock says is never compared with ours: a
//! candidate takes a Lease over when it has not changed for its duration by the candidate's own monotonic clock.
//! The leader counts from before its last renewal was sent, and gives up `RENEW_DEADLINE` later, well before
//! anyone can have waited `LEASE_DURATION`. Every write carries the version that it was made from, so of two
//! candidates one wins.
//!
//! No crate does this for kube 5: kube-lease-manager 0.13 compares the clocks of two machines, takes an expired
//! Lease without its version (so that two can), and goes on leading while renewals fail.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::{Client, Config};
use prometheus_client::metrics::gauge::Gauge;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::metrics::InFlight;

/// A Lease that has not changed for so long is free.
const LEASE_DURATION: Duration = Duration::from_secs(10);
/// A leader whose renewals fail for so long stops.
const RENEW_DEADLINE: Duration = Duration::from_secs(7);
/// Time between two renewals.
const RENEW_INTERVAL: Duration = Duration::from_secs(2);
/// Time between two looks of a candidate.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// A request that takes longer is given up, so that a deadline has room for a second one.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);

/// Which Lease decides.
#[derive(clap::Args, Debug, Clone)]
pub struct LeaderArgs {
    /// Lease by which the controllers of an installation agree on the one that works.
    #[arg(long, env = "IMAGEBATCH_LEASE_NAME", default_value = "imagebatch-controller")]
    pub lease_name: String,
    /// Its namespace; by default the pod's own.
    #[arg(long, env = "IMAGEBATCH_LEASE_NAMESPACE")]
    pub lease_namespace: Option<String>,
}

/// A request about the Lease that failed.
#[derive(Debug, thiserror::Error)]
enum LeaseError {
    #[error("no answer within {} s", REQUEST_TIMEOUT.as_secs())]
    Timeout,
    #[error(transparent)]
    Api(#[from] kube::Error),
    #[error("it is held by {0:?}")]
    Taken(String),
}

/// Why a leader is one no more.
#[derive(Debug, thiserror::Error)]
pub enum LeaseLost {
    /// Another process holds the Lease, which happens when this one stood still.
    #[error("the Lease {name:?} is held by {holder:?} now")]
    Taken {
        /// The Lease.
        name: String,
        /// Who holds it.
        holder: String,
    },
    /// The Lease may run out.
    #[error("the Lease {0:?} could not be renewed for {seconds} s", seconds = RENEW_DEADLINE.as_secs())]
    NotRenewed(String),
}

/// A process that would be leader.
pub struct Candidate {
    leases: Api<Lease>,
    name: String,
    identity: String,
    seen: Option<Seen>,
    leader: Gauge,
}

/// What the Lease said, and since when it has said so.
struct Seen {
    spec: LeaseSpec,
    since: Instant,
}

impl Seen {
    /// Whether somebody may still work under it.
    fn is_held(&self, now: Instant) -> bool {
        // The holder's own duration, which may be that of another release.
        let seconds = self.spec.lease_duration_seconds.and_then(|it| u64::try_from(it).ok());
        let duration = seconds.map_or(LEASE_DURATION, Duration::from_secs);
        holder(&self.spec).is_some() && now < self.since + duration
    }
}

impl Candidate {
    /// Makes a candidate with a client of its own, which retries nothing on its own account. `leader` is 1 while it
    /// leads.
    pub async fn new(args: &LeaderArgs, leader: &Gauge) -> anyhow::Result<Self> {
        let mut config = Config::infer().await?;
        config.default_retry = false;
        config.connect_timeout = Some(REQUEST_TIMEOUT);
        let client = Client::try_from(config)?;
        let leases = match &args.lease_namespace {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::default_namespaced(client),
        };
        // A restarted container has its predecessor's host name, and may not take its Lease for its own.
        let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "controller".to_owned());
        let identity = format!("{host}_{}", uuid::Uuid::now_v7());
        Ok(Self { leases, name: args.lease_name.clone(), identity, seen: None, leader: leader.clone() })
    }

    /// Returns the name under which this process holds the Lease.
    #[must_use]
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Waits until this process is the leader; returns nothing when `stop` comes first.
    pub async fn acquire(mut self, stop: &CancellationToken) -> Option<Leadership> {
        loop {
            // An attempt is never broken off: it might have taken the Lease.
            let began = Instant::now();
            match self.try_take().await {
                Ok(Some(lease)) => {
                    let leading = InFlight::new(&self.leader);
                    return Some(Leadership { candidate: self, lease: Some(lease), renewed: began, _leading: leading });
                }
                Ok(None) => {}
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(lease = self.name, error, "failed to look at the Lease, trying again");
                }
            }
            tokio::select! {
                () = stop.cancelled() => return None,
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
            }
        }
    }

    /// Takes the Lease if it is free, and returns it as it is then.
    async fn try_take(&mut self) -> Result<Option<Lease>, LeaseError> {
        let found = self.find().await?;
        let now = Instant::now();
        if let Some(spec) = found.as_ref().map(|it| it.spec.clone().unwrap_or_default())
            && self.seen.as_ref().is_none_or(|seen| seen.spec != spec)
        {
            tracing::debug!(lease = self.name, holder = holder(&spec), "the Lease changed");
            self.seen = Some(Seen { spec, since: now });
        }
        // Also where it was deleted: its holder may work on until it notices.
        if self.seen.as_ref().is_some_and(|it| it.is_held(now)) {
            return Ok(None);
        }
        match self.write(found.unwrap_or_default()).await {
            Ok(lease) => Ok(Some(lease)),
            Err(LeaseError::Api(kube::Error::Api(status))) if status.is_conflict() || status.is_already_exists() => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn find(&self) -> Result<Option<Lease>, LeaseError> {
        within(self.leases.get_opt(&self.name)).await
    }

    /// Writes that this process holds the Lease from now on; fails when it is not what it was.
    async fn write(&self, mut lease: Lease) -> Result<Lease, LeaseError> {
        let is_new = lease.metadata.resource_version.is_none();
        let spec = lease.spec.get_or_insert_default();
        let now = MicroTime(Timestamp::now());
        if holder(spec) != Some(&self.identity) {
            spec.acquire_time = Some(now.clone());
            spec.lease_transitions = Some(if is_new { 0 } else { spec.lease_transitions.unwrap_or_default() + 1 });
        }
        spec.holder_identity = Some(self.identity.clone());
        spec.lease_duration_seconds = Some(LEASE_DURATION.as_secs() as i32);
        spec.renew_time = Some(now);
        if is_new {
            lease.metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
            return within(self.leases.create(&PostParams::default(), &lease)).await;
        }
        within(self.leases.replace(&self.name, &PostParams::default(), &lease)).await
    }
}

/// The right to work.
pub struct Leadership {
    candidate: Candidate,
    /// The Lease as this process wrote it; absent while it is not known whether a renewal arrived.
    lease: Option<Lease>,
    /// When the last successful renewal was begun.
    renewed: Instant,
    /// For the metrics: it goes with the right.
    _leading: InFlight,
}

impl Leadership {
    /// Keeps the Lease while `work` goes on, and gives it back when that has ended well. When the Lease is lost,
    /// `work` is dropped at once. The Lease of work that failed runs out, since something of it may go on.
    pub async fn during(self, work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
        let ended = CancellationToken::new();
        // A task of its own, so that work that is busy holds up no renewal.
        let mut renewal = tokio::spawn(self.renew_until(ended.clone()));
        tokio::select! {
            biased;
            lost = &mut renewal => {
                lost??;
                anyhow::bail!("the Lease is not renewed any more");
            }
            result = work => result?,
        }
        ended.cancel();
        renewal.await??.release().await;
        Ok(())
    }

    async fn renew_until(mut self, ended: CancellationToken) -> Result<Self, LeaseLost> {
        let mut next = self.renewed + RENEW_INTERVAL;
        loop {
            let deadline = self.renewed + RENEW_DEADLINE;
            tokio::select! {
                () = ended.cancelled() => return Ok(self),
                () = tokio::time::sleep_until(next.min(deadline)) => {}
            }
            next = Instant::now() + RENEW_INTERVAL;
            match tokio::time::timeout_at(deadline, self.renew()).await {
                Ok(Ok(())) => {}
                Ok(Err(LeaseError::Taken(holder))) => {
                    return Err(LeaseLost::Taken { name: self.candidate.name, holder });
                }
                Ok(Err(error)) => {
                    if matches!(&error, LeaseError::Api(kube::Error::Api(status)) if status.is_conflict()) {
                        // Perhaps it is somebody else's already.
                        next = Instant::now();
                    }
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(lease = self.candidate.name, error, "failed to renew the Lease, trying again");
                }
                Err(_) => return Err(LeaseLost::NotRenewed(self.candidate.name)),
            }
        }
    }

    async fn renew(&mut self) -> Result<(), LeaseError> {
        let began = Instant::now();
        let lease = self.take_lease().await?;
        self.lease = Some(self.candidate.write(lease).await?);
        self.renewed = began;
        Ok(())
    }

    /// Returns the Lease as it is; fails when it is not this process' any more.
    async fn take_lease(&mut self) -> Result<Lease, LeaseError> {
        if let Some(lease) = self.lease.take() {
            return Ok(lease);
        }
        let Some(lease) = self.candidate.find().await? else {
            // Somebody deleted it. Candidates wait its duration out, so this process is the first to make it anew.
            return Ok(Lease::default());
        };
        match lease.spec.as_ref().and_then(holder) {
            Some(holder) if holder == self.candidate.identity => Ok(lease),
            other => Err(LeaseError::Taken(other.unwrap_or_default().to_owned())),
        }
    }

    /// Gives the Lease back, so that the next candidate need not wait until it runs out.
    async fn release(mut self) {
        let release = async {
            let mut lease = self.take_lease().await?;
            let spec = lease.spec.get_or_insert_default();
            spec.holder_identity = None;
            spec.renew_time = Some(MicroTime(Timestamp::now()));
            let Candidate { leases, name, .. } = &self.candidate;
            within(leases.replace(name, &PostParams::default(), &lease)).await
        };
        match release.await {
            Ok(_) => tracing::debug!("gave the Lease back"),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "failed to give the Lease back, it runs out");
            }
        }
    }
}

fn holder(spec: &LeaseSpec) -> Option<&str> {
    spec.holder_identity.as_deref().filter(|it| !it.is_empty())
}

async fn within<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, LeaseError> {
    Ok(tokio::time::timeout(REQUEST_TIMEOUT, request).await.map_err(|_| LeaseError::Timeout)??)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(holder: Option<&str>, seconds: Option<i32>, since: Instant) -> Seen {
        let spec = LeaseSpec {
            holder_identity: holder.map(str::to_owned),
            lease_duration_seconds: seconds,
            // Long ago by the holder's clock, which does not count.
            renew_time: Some(MicroTime(Timestamp::UNIX_EPOCH)),
            ..LeaseSpec::default()
        };
        Seen { spec, since }
    }

    #[test]
    fn a_lease_is_held_for_its_duration_from_when_it_was_seen() {
        let since = Instant::now();
        for (holder, duration, seconds, held) in [
            (Some("a"), Some(10), 9, true),
            (Some("a"), Some(10), 10, false),
            (Some("a"), Some(30), 29, true),
            (Some("a"), None, 9, true),
            (Some("a"), None, 10, false),
            (Some(""), Some(10), 0, false),
            (None, Some(10), 0, false),
        ] {
            let now = since + Duration::from_secs(seconds);
            assert_eq!(seen(holder, duration, since).is_held(now), held, "{holder:?} {duration:?} {seconds}");
        }
    }

    #[test]
    fn a_leader_stops_before_anyone_can_take_over() {
        // The rest is for clocks of different speed, and for a process that wakes up late.
        assert!(RENEW_DEADLINE + 2 * LOOK_INTERVAL < LEASE_DURATION);
        assert!(RENEW_INTERVAL + REQUEST_TIMEOUT < RENEW_DEADLINE);
    }
}
