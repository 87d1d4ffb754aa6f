//! The key of every object. All objects of a batch and of its retries lie below `<prefix>/<namespace>/<uid>`
//! of the first of them, their root: retries refer to its images, so what they own together can be deleted
//! by one prefix. Credentials can be scoped to a namespace.
//!
//! ```text
//! <prefix>/<namespace>/uploads/<id>.csv                            the source, by the gateway
//! <prefix>/<namespace>/<uid>/batch/source.csv                      a source fetched by URL, or mounted, by ingest
//! <prefix>/<namespace>/<uid>/batch/manifest.json                   by ingest
//! <prefix>/<namespace>/<uid>/batch/shards/<index>.jsonl            by ingest
//! <prefix>/<namespace>/<uid>/batch/problems.json                   by ingest
//! <prefix>/<namespace>/<uid>/batch/parts/<index>.jsonl             by compress
//! <prefix>/<namespace>/<uid>/batch/output.csv, failed.csv          by report
//! <prefix>/<namespace>/<root's uid>/<sha256>/<name>.<ext>          images, by compress
//! <prefix>/<namespace>/<root's uid>/retries/<uid>/...              a retry's manifest, shards, parts, reports
//! <prefix>/<namespace>/<root's uid>/retained                       by the controller: the images must stay
//! ```

use crate::api::status::Retry;

/// Makes the keys of one installation.
#[derive(Debug, Clone)]
pub struct Keys {
    prefix: String,
}

/// Makes the keys of one batch.
#[derive(Debug, Clone)]
pub struct BatchKeys {
    root: String,
    own: String,
}

impl Keys {
    /// Returns the keys below an installation's prefix.
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.trim_matches('/').to_owned() }
    }

    /// Returns the keys of a batch that is no retry.
    #[must_use]
    pub fn batch(&self, namespace: &str, uid: &str) -> BatchKeys {
        let root = format!("{}/{namespace}/{uid}", self.prefix);
        BatchKeys { own: format!("{root}/batch"), root }
    }

    /// Returns the keys of a batch that may be a retry.
    #[must_use]
    pub fn batch_or_retry(&self, namespace: &str, uid: &str, retry: Option<&Retry>) -> BatchKeys {
        retry.map_or_else(|| self.batch(namespace, uid), |retry| self.member(namespace, &retry.root, uid))
    }

    /// Returns the keys of the batch that a retry builds on, which may be one itself.
    #[must_use]
    pub fn retried(&self, namespace: &str, retry: &Retry) -> BatchKeys {
        self.member(namespace, &retry.root, &retry.uid)
    }

    fn member(&self, namespace: &str, root: &str, uid: &str) -> BatchKeys {
        let keys = self.batch(namespace, root);
        if uid == root { keys } else { BatchKeys { own: format!("{}/retries/{uid}", keys.root), ..keys } }
    }

    /// Returns the key of an uploaded source. The id is the batch's name, or the name, a dot and what
    /// tells uploads for the same batch apart.
    #[must_use]
    pub fn upload(&self, namespace: &str, id: &str) -> String {
        format!("{}{id}.csv", self.uploads(namespace))
    }

    /// Returns the prefix of a namespace's uploads.
    #[must_use]
    pub fn uploads(&self, namespace: &str) -> String {
        format!("{}/{namespace}/uploads/", self.prefix)
    }

    /// Returns whether a key is an upload of that namespace: a batch may point at no other.
    #[must_use]
    pub fn is_upload_of(&self, namespace: &str, key: &str) -> bool {
        self.batch_of_upload(namespace, key).is_some()
    }

    /// Returns the name of the batch that an upload of that namespace is made for.
    #[must_use]
    pub fn batch_of_upload<'k>(&self, namespace: &str, key: &'k str) -> Option<&'k str> {
        let id = key.strip_prefix(&self.uploads(namespace))?.strip_suffix(".csv")?;
        let name = id.split('.').next()?;
        (!name.is_empty() && !id.contains('/')).then_some(name)
    }

    /// Returns whether a key is an image: nothing else of the bucket is served to the public.
    #[must_use]
    pub fn is_image(&self, key: &str) -> bool {
        self.namespace_of_image(key).is_some()
    }

    /// Returns the namespace of a key that is an image.
    #[must_use]
    pub fn namespace_of_image<'k>(&self, key: &'k str) -> Option<&'k str> {
        let rest = key.strip_prefix(&self.prefix)?.strip_prefix('/')?;
        let segments: Vec<&str> = rest.split('/').collect();
        let [namespace, _root, hash, name] = segments[..] else { return None };
        let is_hash = hash.len() == 64 && hash.bytes().all(|it| it.is_ascii_hexdigit());
        (is_hash && !name.is_empty()).then_some(namespace)
    }

    /// Returns a key that no object has, to probe storage with.
    #[must_use]
    pub fn probe(&self) -> String {
        format!("{}/probe", self.prefix)
    }
}

impl BatchKeys {
    /// Returns the prefix of everything that the batch, the one it began with and their retries stored.
    #[must_use]
    pub fn root(&self) -> &str {
        &self.root
    }

    /// Returns the key of what says that an ImageBatch went and its images are to stay.
    #[must_use]
    pub fn retained(&self) -> String {
        format!("{}/retained", self.root)
    }

    /// Returns the key of a source that was fetched by its URL or read from a ConfigMap.
    #[must_use]
    pub fn source(&self) -> String {
        format!("{}/source.csv", self.own)
    }

    /// Returns the manifest's key.
    #[must_use]
    pub fn manifest(&self) -> String {
        format!("{}/manifest.json", self.own)
    }

    /// Returns a shard's key.
    #[must_use]
    pub fn shard(&self, index: u32) -> String {
        format!("{}/shards/{index:06}.jsonl", self.own)
    }

    /// Returns the key of all problems of a refused source.
    #[must_use]
    pub fn problems(&self) -> String {
        format!("{}/problems.json", self.own)
    }

    /// Returns the key of a shard's outcomes.
    #[must_use]
    pub fn part(&self, index: u32) -> String {
        format!("{}/parts/{index:06}.jsonl", self.own)
    }

    /// Returns the key of the report of all rows.
    #[must_use]
    pub fn output_csv(&self) -> String {
        format!("{}/output.csv", self.own)
    }

    /// Returns the key of the report of failed images.
    #[must_use]
    pub fn failed_csv(&self) -> String {
        format!("{}/failed.csv", self.own)
    }

    /// Returns an image's key: named by its content, ended by the source's file name for people and
    /// search engines.
    #[must_use]
    pub fn image(&self, sha256: &str, source_url: &str, extension: &str) -> String {
        format!("{}/{sha256}/{}.{extension}", self.root, file_stem(source_url))
    }
}

/// Returns the file name of a URL without its extension, reduced to characters that are safe in
/// object keys, URLs and CSV cells.
fn file_stem(source_url: &str) -> String {
    let path = source_url.split(['?', '#']).next().unwrap_or_default();
    let name = path.rsplit('/').next().unwrap_or_default();
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let safe: String = stem
        .chars()
        .map(|it| if it.is_ascii_alphanumeric() || matches!(it, '-' | '_') { it } else { '-' })
        .take(80)
        .collect();
    let safe = safe.trim_matches('-');
    if safe.is_empty() { "image".to_owned() } else { safe.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_images_are_served() {
        let keys = Keys::new("/shop/");
        let batch = keys.batch("tenant", "uid");
        assert!(keys.is_image(&batch.image(&"a".repeat(64), "https://a/1.jpg", "jpg")));
        for key in [batch.manifest(), batch.shard(0), batch.output_csv(), keys.upload("tenant", "id")] {
            assert!(!keys.is_image(&key), "{key}");
        }
        assert!(!keys.is_image(&format!("other/tenant/uid/{}/1.jpg", "a".repeat(64))));
    }

    #[test]
    fn retries_store_below_the_batch_that_they_began_with() {
        let keys = Keys::new("shop");
        let first = keys.batch("tenant", "a");
        let retry = |of: &str| Retry { of: of.to_owned(), uid: of.to_owned(), root: "a".to_owned(), images: 1 };
        let (second, third) = (
            keys.batch_or_retry("tenant", "b", Some(&retry("a"))),
            keys.batch_or_retry("tenant", "c", Some(&retry("b"))),
        );
        for keys in [&second, &third] {
            assert_eq!(keys.image("hash", "https://a/1.jpg", "jpg"), first.image("hash", "https://a/1.jpg", "jpg"));
            assert_eq!(keys.root(), first.root());
        }
        assert_eq!(keys.retried("tenant", &retry("a")).manifest(), first.manifest());
        assert_eq!(keys.retried("tenant", &retry("b")).manifest(), second.manifest());
        let manifests = [first.manifest(), second.manifest(), third.manifest()];
        assert_eq!(
            manifests.map(|it| it.replace("shop/tenant/a/", "")),
            ["batch/manifest.json", "retries/b/manifest.json", "retries/c/manifest.json"]
        );
        assert!(!keys.is_image(&second.output_csv()) && !keys.is_image(&first.retained()));
    }

    #[test]
    fn uploads_of_another_namespace_are_not_ours() {
        let keys = Keys::new("shop");
        assert!(keys.is_upload_of("a", &keys.upload("a", "id")));
        assert!(!keys.is_upload_of("a", &keys.upload("b", "id")));
        assert!(!keys.is_upload_of("a", "shop/a/uploads/../../b/uploads/id.csv"));
        assert_eq!(keys.batch_of_upload("a", &keys.upload("a", "ik-1.2")), Some("ik-1"));
        assert_eq!(keys.batch_of_upload("a", &keys.upload("a", "")), None);
    }

    #[test]
    fn file_names_become_safe() {
        let cases = [
            ("https://a/b/Red%20Shoe.final.JPG?w=1", "Red-20Shoe-final"),
            ("https://a/", "image"),
            ("https://a/,,,.png", "image"),
        ];
        for (url, expected) in cases {
            assert_eq!(file_stem(url), expected, "{url}");
        }
    }
}
