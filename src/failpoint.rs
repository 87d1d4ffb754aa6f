//! Failpoints: named places before and after each step that commits something, at which a test can let
//! the process die, or the step fail.
//!
//! [`around`] gives a step two points, `NAME.before` and `NAME.after`: an error at the second one is a
//! step that was done and is reported as failed. `IMAGEBATCH_FAILPOINTS` says what happens where:
//!
//! ```text
//! image.put.before=kill*1;mongodb.command.after=5%error;storage.request.before=5%timeout+2%error
//! ```
//!
//! Actions are `error`, `timeout` and `kill` (the process aborts, without any farewell); `P%` is the
//! chance, `*N` how often at most. `IMAGEBATCH_FAILPOINTS_SEEN` names a file that gets a line for each
//! point that is reached. Both are read by [`set_up`].
//!
//! Only debug builds have failpoints: in a release build [`around`] is the step itself, and a process
//! that is given the variables refuses to start. The crate `fail` does the same, but it blocks the thread
//! while it waits, cannot fail a future, and had its last release in 2022.

/// What an action makes of a step: an error that may pass.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("failpoint {name}.{side}: {kind:?}")]
pub struct Injected {
    name: &'static str,
    side: &'static str,
    /// What kind of error it is.
    pub kind: Kind,
}

/// How a step fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The other side broke off.
    Error,
    /// The other side did not answer in time.
    Timeout,
}

/// Every name that is given to [`around`], in the order in which a batch meets them.
pub const NAMES: &[&str] = &[
    "upload.put",
    "batch.create",
    "request.insert",
    "job.apply",
    "status.mirror",
    "status.patch",
    "source.put",
    "shard.put",
    "products.insert",
    "manifest.put",
    "ingest.insert",
    "shard.start",
    "image.put",
    "outcomes.insert",
    "counts.raise",
    "part.put",
    "settled.insert",
    "output.put",
    "failed.put",
    "report.insert",
    "progress.delete",
    "outbox.insert",
    "webhook.send",
    "delivery.update",
    "condition.patch",
    "told.update",
    "batch.expire",
    "objects.delete",
    "upload.delete",
    "records.delete",
    "batch.cleanup",
    // Below the clients' own retries.
    "storage.request",
    "mongodb.command",
];

const RULES: &str = "IMAGEBATCH_FAILPOINTS";
const SEEN: &str = "IMAGEBATCH_FAILPOINTS_SEEN";

/// Runs a step between its two points.
#[cfg(not(debug_assertions))]
pub fn around<T, E>(_: &'static str, step: impl Future<Output = Result<T, E>>) -> impl Future<Output = Result<T, E>> {
    step
}

/// Refuses variables that would have no effect.
#[cfg(not(debug_assertions))]
pub fn set_up() -> anyhow::Result<()> {
    let given = [RULES, SEEN].into_iter().find(|it| std::env::var_os(it).is_some());
    given.map_or(Ok(()), |it| Err(anyhow::anyhow!("{it} is set, and this build has no failpoints")))
}

#[cfg(debug_assertions)]
pub use active::{around, set_up};

#[cfg(debug_assertions)]
mod active {
    use std::fs::File;
    use std::io::Write;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    use anyhow::Context;

    use super::{Injected, Kind, NAMES, RULES, SEEN};

    static POINTS: OnceLock<Points> = OnceLock::new();

    struct Points {
        rules: Vec<Rule>,
        seen: Option<File>,
    }

    #[derive(Debug)]
    struct Rule {
        point: String,
        percent: f64,
        action: Action,
        left: AtomicU32,
    }

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Action {
        Fail(Kind),
        Kill,
    }

    /// Reads the variables; without it no point has an effect.
    pub fn set_up() -> anyhow::Result<()> {
        let rules = parse(&std::env::var(RULES).unwrap_or_default()).context(RULES)?;
        let open = |path| File::options().create(true).append(true).open(path);
        let seen = std::env::var_os(SEEN).map(open).transpose().context(SEEN)?;
        POINTS.set(Points { rules, seen }).map_err(|_| anyhow::anyhow!("failpoints are set up already"))
    }

    /// Runs a step between its two points.
    pub async fn around<T, E: From<Injected>>(
        name: &'static str,
        step: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        reach(name, "before")?;
        let done = step.await?;
        reach(name, "after")?;
        Ok(done)
    }

    fn reach(name: &'static str, side: &'static str) -> Result<(), Injected> {
        let Some(Points { rules, seen }) = POINTS.get() else { return Ok(()) };
        let point = format!("{name}.{side}");
        if let Some(mut seen) = seen.as_ref() {
            // One write, so that lines of several processes do not mix.
            let _ = seen.write_all(format!("{point}\n").as_bytes());
        }
        for rule in rules.iter().filter(|it| it.point == point) {
            let happens = fastrand::f64() * 100.0 < rule.percent;
            let left = |left: u32| left.checked_sub(1);
            if !happens || rule.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left).is_err() {
                continue;
            }
            tracing::warn!(failpoint = point, action = ?rule.action, "injected");
            match rule.action {
                Action::Kill => std::process::abort(),
                Action::Fail(kind) => return Err(Injected { name, side, kind }),
            }
        }
        Ok(())
    }

    fn parse(text: &str) -> anyhow::Result<Vec<Rule>> {
        let mut rules = Vec::new();
        for entry in text.split(';').map(str::trim).filter(|it| !it.is_empty()) {
            let (point, actions) = entry.split_once('=').with_context(|| format!("{entry:?} has no \"=\""))?;
            let name = point.strip_suffix(".before").or_else(|| point.strip_suffix(".after"));
            anyhow::ensure!(name.is_some_and(|it| NAMES.contains(&it)), "there is no failpoint {point:?}");
            for action in actions.split('+') {
                rules.push(rule(point, action).with_context(|| format!("{entry:?} is no rule"))?);
            }
        }
        Ok(rules)
    }

    fn rule(point: &str, action: &str) -> anyhow::Result<Rule> {
        let (percent, action) = action.split_once('%').unwrap_or(("100", action));
        let (action, most) = action.split_once('*').unwrap_or((action, "4294967295"));
        let action = match action {
            "error" => Action::Fail(Kind::Error),
            "timeout" => Action::Fail(Kind::Timeout),
            "kill" => Action::Kill,
            other => anyhow::bail!("there is no action {other:?}"),
        };
        Ok(Rule { point: point.to_owned(), percent: percent.parse()?, action, left: AtomicU32::new(most.parse()?) })
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn rules_have_a_chance_and_a_number() {
            let rules = parse("image.put.before=kill*2; storage.request.after=5%error+0.5%timeout;").expect("rules");
            let read: Vec<_> = rules
                .iter()
                .map(|it| (it.point.as_str(), it.percent, it.action, it.left.load(Ordering::Relaxed)))
                .collect();
            assert_eq!(
                read,
                [
                    ("image.put.before", 100.0, Action::Kill, 2),
                    ("storage.request.after", 5.0, Action::Fail(Kind::Error), u32::MAX),
                    ("storage.request.after", 0.5, Action::Fail(Kind::Timeout), u32::MAX),
                ]
            );
            for text in ["image.put=kill", "nowhere.before=kill", "image.put.before", "image.put.before=explode"] {
                parse(text).expect_err(text);
            }
        }
    }
}

impl From<Injected> for std::io::Error {
    fn from(injected: Injected) -> Self {
        let kind = match injected.kind {
            Kind::Error => std::io::ErrorKind::ConnectionReset,
            Kind::Timeout => std::io::ErrorKind::TimedOut,
        };
        Self::new(kind, injected)
    }
}

impl From<Injected> for mongodb::error::Error {
    fn from(injected: Injected) -> Self {
        std::io::Error::from(injected).into()
    }
}

impl From<Injected> for kube::Error {
    fn from(injected: Injected) -> Self {
        Self::Service(Box::new(injected))
    }
}

impl From<Injected> for object_store::client::HttpError {
    fn from(injected: Injected) -> Self {
        let kind = match injected.kind {
            Kind::Error => object_store::client::HttpErrorKind::Interrupted,
            Kind::Timeout => object_store::client::HttpErrorKind::Timeout,
        };
        Self::new(kind, injected)
    }
}
