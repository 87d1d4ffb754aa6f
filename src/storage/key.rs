//! The key of every object. All of a batch's objects lie below `<prefix>/<namespace>/<uid>`, so what
//! a batch owns can be deleted by one prefix and credentials can be scoped to a namespace.
//!
//! ```text
//! <prefix>/<namespace>/uploads/<id>.csv                            the source, by the gateway
//! <prefix>/<namespace>/<uid>/batch/source.csv                      a source fetched by URL, by ingest
//! <prefix>/<namespace>/<uid>/batch/manifest.json                   by ingest
//! <prefix>/<namespace>/<uid>/batch/shards/<index>.jsonl            by ingest
//! <prefix>/<namespace>/<uid>/batch/problems.json                   by ingest
//! <prefix>/<namespace>/<uid>/batch/parts/<index>.jsonl             by compress
//! <prefix>/<namespace>/<uid>/batch/output.csv, failed.csv          by report
//! <prefix>/<namespace>/<lineage root's uid>/<sha256>/<name>.<ext>  images, by compress
//! ```

/// Makes the keys of one installation.
#[derive(Debug, Clone)]
pub struct Keys {
    prefix: String,
}

/// Makes the keys of one batch.
#[derive(Debug, Clone)]
pub struct BatchKeys {
    root: String,
}

impl Keys {
    /// Returns the keys below an installation's prefix.
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.trim_matches('/').to_owned() }
    }

    /// Returns the keys of a batch.
    #[must_use]
    pub fn batch(&self, namespace: &str, uid: &str) -> BatchKeys {
        BatchKeys { root: format!("{}/{namespace}/{uid}", self.prefix) }
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
        let Some(rest) = key.strip_prefix(&self.prefix).and_then(|it| it.strip_prefix('/')) else { return false };
        let segments: Vec<&str> = rest.split('/').collect();
        let [_namespace, _root, hash, name] = segments[..] else { return false };
        hash.len() == 64 && hash.bytes().all(|it| it.is_ascii_hexdigit()) && !name.is_empty()
    }

    /// Returns a key that no object has, to probe storage with.
    #[must_use]
    pub fn probe(&self) -> String {
        format!("{}/probe", self.prefix)
    }
}

impl BatchKeys {
    /// Returns the prefix of everything the batch stored.
    #[must_use]
    pub fn root(&self) -> &str {
        &self.root
    }

    /// Returns the key of a source that was fetched by its URL.
    #[must_use]
    pub fn source(&self) -> String {
        format!("{}/batch/source.csv", self.root)
    }

    /// Returns the manifest's key.
    #[must_use]
    pub fn manifest(&self) -> String {
        format!("{}/batch/manifest.json", self.root)
    }

    /// Returns a shard's key.
    #[must_use]
    pub fn shard(&self, index: u32) -> String {
        format!("{}/batch/shards/{index:06}.jsonl", self.root)
    }

    /// Returns the key of all problems of a refused source.
    #[must_use]
    pub fn problems(&self) -> String {
        format!("{}/batch/problems.json", self.root)
    }

    /// Returns the key of a shard's outcomes.
    #[must_use]
    pub fn part(&self, index: u32) -> String {
        format!("{}/batch/parts/{index:06}.jsonl", self.root)
    }

    /// Returns the key of the report of all rows.
    #[must_use]
    pub fn output_csv(&self) -> String {
        format!("{}/batch/output.csv", self.root)
    }

    /// Returns the key of the report of failed images.
    #[must_use]
    pub fn failed_csv(&self) -> String {
        format!("{}/batch/failed.csv", self.root)
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
