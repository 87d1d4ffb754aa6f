//! Lists of ImageBatches, a page at a time, so that thousands of them are never in memory together.

use kube::Client;
use kube::api::{Api, ListParams};
use kube::core::DeserializeGuard;

use crate::api::image_batch::ImageBatch;

/// ImageBatches of a page.
const PAGE: u32 = 500;

/// Calls for each ImageBatch of a namespace, also for those that cannot be read.
pub(super) async fn for_each(
    client: &Client,
    namespace: &str,
    mut call: impl FnMut(&DeserializeGuard<ImageBatch>) + Send,
) -> Result<(), kube::Error> {
    let batches = Api::<DeserializeGuard<ImageBatch>>::namespaced(client.clone(), namespace);
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let listed = batches.list(&page).await?;
        listed.items.iter().for_each(&mut call);
        let Some(next) = listed.metadata.continue_.filter(|it| !it.is_empty()) else { return Ok(()) };
        page = page.continue_token(&next);
    }
}
