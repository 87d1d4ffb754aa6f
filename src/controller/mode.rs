//! Which stages a batch runs, and how wide they are. Pure.

use super::observe::{ConfigMapState, Observed};
use crate::api::image_batch::ImageBatchSpec;
use crate::api::stage::{FUSED_MAX_BYTES, FUSED_MAX_IMAGES, Stage};
use crate::api::status::Retry;

/// Returns whether a batch runs all stages in one pod. The existing Job decides, so that a batch keeps its
/// mode whatever is observed later.
pub(super) fn is_fused(spec: &ImageBatchSpec, retry: Option<&Retry>, observed: &Observed) -> bool {
    if observed.jobs.contains_key(&Stage::Run) {
        return true;
    }
    if observed.jobs.contains_key(&Stage::Ingest) || observed.jobs.contains_key(&Stage::Compress) {
        return false;
    }
    if let Some(retry) = retry {
        return retry.images <= FUSED_MAX_IMAGES;
    }
    if let Some(ingest) = &observed.ingest {
        return ingest.images <= FUSED_MAX_IMAGES;
    }
    match (&spec.source.upload, &observed.config_map) {
        (Some(upload), _) => upload.images <= FUSED_MAX_IMAGES,
        (None, Some(ConfigMapState::Present(bytes))) => *bytes <= FUSED_MAX_BYTES,
        (None, _) => spec.source.products.is_some(),
    }
}

/// Returns how many pods of a stage have to complete.
pub(super) fn completions_of(stage: Stage, observed: &Observed) -> i32 {
    match (stage, &observed.ingest) {
        (Stage::Compress, Some(ingest)) => ingest.shards.max(1),
        _ => 1,
    }
}

/// Returns how many pods of a stage run at the same time: more pods than shards would only wait.
pub(super) fn parallelism_of(stage: Stage, spec: &ImageBatchSpec, completions: i32) -> i32 {
    if stage == Stage::Compress { spec.parallelism.min(completions) } else { 1 }
}
