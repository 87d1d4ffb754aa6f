//! Whether a stage fits into its memory, asked before it starts: a pod that is ended for want of memory
//! loses the images in flight, comes back, and is ended again.
//!
//! ```text
//! codec threads x memory of a codec child + images in flight x bytes of a body + 64 MiB <= limit
//! ```

use std::fs;
use std::path::Path;

/// What the process itself takes, connections, pipes and rows included.
const BASE: u64 = 64 << 20;
/// More CPUs are used by more pods: the memory of a pod is what bounds it.
const MAX_CODEC_THREADS: usize = 2;

/// What a stage may hold at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Demand {
    /// Bytes of address space of a codec child.
    pub(crate) child: u64,
    /// Images that are fetched, waiting, compressed or stored.
    pub(crate) images_in_flight: u64,
    /// Most bytes of a body, or of the result that replaces it.
    pub(crate) body: u64,
}

/// A stage cannot be sure of its memory.
#[derive(Debug, thiserror::Error)]
#[error(
    "the stage may need {} MiB ({threads} codec children of {} MiB, {} images in flight of {} MiB, {} MiB beside), \
     but its memory limit is {} MiB: raise the limit (the chart's worker.resources.limits.memory), or lower \
     --image-memory-bytes (limits.image.memoryBytes), --fetch-max-bytes (egress.maxBytes), --codec-threads or \
     --images-in-flight",
    mebibytes(demand.of(*threads)), mebibytes(demand.child), demand.images_in_flight, mebibytes(demand.body),
    mebibytes(BASE), mebibytes(*limit)
)]
pub struct MemoryError {
    threads: usize,
    demand: Demand,
    limit: u64,
}

impl Demand {
    fn of(self, threads: usize) -> u64 {
        let children = self.child.saturating_mul(threads as u64);
        children.saturating_add(self.images_in_flight.saturating_mul(self.body)).saturating_add(BASE)
    }

    /// Returns how many codec threads run within `limit`: as many as were asked for, else one a CPU, at
    /// most two, and not more than fit.
    pub(crate) fn codec_threads(self, asked: Option<usize>, limit: Option<u64>) -> Result<usize, MemoryError> {
        let fits = |threads: usize| limit.is_none_or(|limit| self.of(threads) <= limit);
        let threads = asked.unwrap_or_else(|| {
            let cpus = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_CODEC_THREADS);
            (1..=cpus).rev().find(|threads| fits(*threads)).unwrap_or(1)
        });
        match limit {
            Some(limit) if !fits(threads) => Err(MemoryError { threads, demand: self, limit }),
            _ => Ok(threads),
        }
    }
}

/// Returns the memory limit of this process's control group or of one above it, in bytes.
pub(crate) fn limit() -> Option<u64> {
    limit_of(Path::new("/sys/fs/cgroup"), &fs::read_to_string("/proc/self/cgroup").ok()?)
}

/// `groups` is what Linux says of a process: of version 2 of control groups, `0::/path`.
fn limit_of(root: &Path, groups: &str) -> Option<u64> {
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let own = root.join(own);
    let limits = own.ancestors().take_while(|folder| folder.starts_with(root)).filter_map(|folder| {
        // `max` where there is none; the root has no such file.
        fs::read_to_string(folder.join("memory.max")).ok()?.trim().parse().ok()
    });
    limits.min()
}

fn mebibytes(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEMAND: Demand = Demand { child: 640 << 20, images_in_flight: 12, body: 25 << 20 };

    #[test]
    fn what_was_asked_for_fits_or_is_refused_with_every_figure() {
        assert_eq!(DEMAND.codec_threads(Some(2), Some(1_644 << 20)).ok(), Some(2));
        assert_eq!(DEMAND.codec_threads(Some(8), None).ok(), Some(8), "without a limit there is nothing to check");
        let error = DEMAND.codec_threads(Some(2), Some((1_644 << 20) - 1)).expect_err("a byte is missing").to_string();
        for part in ["1644 MiB", "2 codec children of 640 MiB", "12 images", "25 MiB", "64 MiB", "--codec-threads"] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }

    #[test]
    fn without_a_wish_as_many_run_as_fit() {
        assert_eq!(DEMAND.codec_threads(None, Some(1_004 << 20)).ok(), Some(1));
        assert!(DEMAND.codec_threads(None, Some(1_003 << 20)).is_err());
    }

    #[test]
    fn the_tightest_limit_above_a_process_counts() {
        let root = std::env::temp_dir().join(format!("imagebatch-memory-{}", std::process::id()));
        let own = root.join("pods/pod-1/worker");
        fs::create_dir_all(&own).expect("a folder");
        let set = |folder: &str, limit: &str| fs::write(root.join(folder).join("memory.max"), limit).expect("a file");
        let read = || limit_of(&root, "1:name=systemd:/other\n0::/pods/pod-1/worker\n");
        set("pods/pod-1/worker", "max\n");
        assert_eq!(read(), None);
        set("pods/pod-1/worker", "2147483648\n");
        set("pods", "1073741824\n");
        assert_eq!(read(), Some(1 << 30));
        assert_eq!(limit_of(&root.join("pods"), "0::/\n"), Some(1 << 30), "a container sees its own as the root");
        fs::remove_dir_all(&root).expect("it is the test's own");
    }
}
