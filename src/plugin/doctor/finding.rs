//! What one check found.

use std::fmt;

use serde::Serialize;

use crate::plugin::print::clean;

/// How a check ended.
#[derive(Serialize, Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is as it should be.
    Ok,
    /// It may be wrong.
    Warning,
    /// It is wrong.
    Fault,
    /// It could not be looked at.
    Unknown,
}

/// What one check found.
#[derive(Serialize, Debug, Clone)]
pub(super) struct Finding {
    pub(super) check: &'static str,
    pub(super) verdict: Verdict,
    pub(super) detail: String,
    /// How to mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fix: Option<String>,
}

impl Finding {
    pub(super) fn ok(check: &'static str, detail: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Ok, detail: detail.into(), fix: None }
    }

    pub(super) fn warning(check: &'static str, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Warning, detail: detail.into(), fix: Some(fix.into()) }
    }

    pub(super) fn fault(check: &'static str, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Fault, detail: detail.into(), fix: Some(fix.into()) }
    }

    pub(super) fn unknown(check: &'static str, detail: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Unknown, detail: detail.into(), fix: None }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.verdict {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Fault => "fault",
            Verdict::Unknown => "unknown",
        };
        writeln!(formatter, "{word:<8} {:<11} {}", self.check, clean(&self.detail))?;
        match &self.fix {
            Some(fix) => writeln!(formatter, "{:20} -> {}", "", clean(fix)),
            None => Ok(()),
        }
    }
}
