//! What every Prometheus client tells of its process, under the names that dashboards know.

use std::fmt;

use procfs::process::LimitValue;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// Reads the figures of this process whenever it is asked.
#[derive(Debug)]
pub(super) struct Process;

struct Figures {
    cpu_seconds: f64,
    start_time_seconds: u64,
    resident_bytes: u64,
    virtual_bytes: u64,
    threads: i64,
    open_files: u64,
    max_files: u64,
}

fn read() -> procfs::ProcResult<Figures> {
    let process = procfs::process::Process::myself()?;
    let stat = process.stat()?;
    let ticks = procfs::ticks_per_second();
    Ok(Figures {
        cpu_seconds: (stat.utime + stat.stime) as f64 / ticks as f64,
        start_time_seconds: procfs::boot_time_secs()? + stat.starttime / ticks,
        resident_bytes: stat.rss * procfs::page_size(),
        virtual_bytes: stat.vsize,
        threads: stat.num_threads,
        open_files: process.fd_count()? as u64,
        max_files: match process.limits()?.max_open_files.soft_limit {
            LimitValue::Value(files) => files,
            LimitValue::Unlimited => u64::MAX,
        },
    })
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        // Without /proc there is nothing to tell, and all the other metrics are right.
        let Ok(figures) = read() else { return Ok(()) };
        let cpu =
            encoder.encode_descriptor("process_cpu", "CPU time used.", Some(&Unit::Seconds), MetricType::Counter)?;
        ConstCounter::new(figures.cpu_seconds).encode(cpu)?;
        let mut gauge = |name, help, unit: Option<&Unit>, value: f64| {
            ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?)
        };
        let (seconds, bytes) = (Some(&Unit::Seconds), Some(&Unit::Bytes));
        let start = figures.start_time_seconds as f64;
        gauge("process_start_time", "Start of the process, in seconds of the Unix epoch.", seconds, start)?;
        gauge("process_resident_memory", "Memory that is in use.", bytes, figures.resident_bytes as f64)?;
        gauge("process_virtual_memory", "Address space.", bytes, figures.virtual_bytes as f64)?;
        gauge("process_threads", "Threads.", None, figures.threads as f64)?;
        gauge("process_open_fds", "Open files and sockets.", None, figures.open_files as f64)?;
        gauge("process_max_fds", "Most files and sockets that may be open.", None, figures.max_files as f64)
    }
}
