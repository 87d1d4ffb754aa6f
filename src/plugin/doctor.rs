//! `doctor`: looks at everything that a batch needs, from the API server to the stores, and says how to mend what is
//! wrong. It changes nothing.

mod finding;
mod installation;
mod requirements;
mod stores;

use clap::Args;
use serde_json::json;

use super::End;
use super::cluster::Cluster;
use super::gateway::Gateway;
use super::print::{DataFormat, print, print_data};
use finding::Verdict;

/// How the result is printed.
#[derive(Args, Debug)]
pub(super) struct DoctorArgs {
    /// Form of the result.
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    output: Option<DataFormat>,
}

/// Checks everything and prints what was found.
pub(super) async fn doctor(cluster: &Cluster, gateway: &Gateway<'_>, args: &DoctorArgs) -> anyhow::Result<End> {
    let mut findings = vec![requirements::api_server(cluster).await];
    // Without it everything else would say the same again.
    if findings[0].verdict != Verdict::Fault {
        findings.push(requirements::definition(cluster).await);
        findings.push(requirements::rights(cluster).await);
        findings.push(requirements::namespace(cluster).await);
        findings.extend(installation::workloads(cluster, gateway).await);
        findings.extend(stores::stores(cluster, gateway).await);
        findings.push(stores::access(gateway).await);
        findings.push(requirements::batches(cluster).await);
    }
    match args.output {
        Some(format) => print_data(format, &json!({ "checks": findings }))?,
        None => print(&findings.iter().map(ToString::to_string).collect::<String>())?,
    }
    let is_fault = findings.iter().any(|it| it.verdict == Verdict::Fault);
    Ok(if is_fault { End::Failed } else { End::Done })
}
