//! `submit`: a CSV becomes a batch. It is checked here first. A small one travels in a ConfigMap by the API server
//! alone; a large one is uploaded to the gateway.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Resource, ResourceExt};
use serde_json::json;

use super::End;
use super::cluster::{Cluster, bounded};
use super::follow::wait;
use super::gateway::{Gateway, upload};
use super::line::full_name;
use super::options::{OptionArgs, ValidationArgs};
use super::print::{Format, note, print_data, print_line};
use super::validate::Checked;
use crate::api::image_batch::ImageBatch;
use crate::api::labels;
use crate::api::source::{ConfigMapKey, Source};
use crate::manifest::limits::LimitArgs;
use crate::manifest::source::Rules;

/// What to submit, and how.
#[derive(Args, Debug)]
pub(super) struct SubmitArgs {
    /// The CSV.
    file: PathBuf,
    /// Wait for the end, with the progress shown.
    #[arg(short, long)]
    wait: bool,
    /// Name of the batch, at most 40 lower-case letters, digits and hyphens; by default made from the file's name.
    /// The gateway names batches itself.
    #[arg(long, value_parser = parse_name)]
    name: Option<String>,
    /// The way: a ConfigMap, which needs no gateway, or an upload to the gateway. By default a file of at most
    /// 900 KiB goes by ConfigMap.
    #[arg(long, value_enum)]
    via: Option<Via>,
    /// Form of the result.
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    output: Option<Format>,
    #[command(flatten)]
    validation: ValidationArgs,
    #[command(flatten)]
    options: OptionArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum Via {
    ConfigMap,
    Gateway,
}

/// Most bytes of a CSV in a ConfigMap, which may have 1 MiB.
const MAX_CONFIG_MAP: u64 = 900 * 1024;
/// Key of the CSV in its ConfigMap.
const KEY: &str = "products.csv";
/// Longest name of a batch.
const MAX_NAME: usize = 40;
/// Digits behind a name that was made from a file's.
const SUFFIX: usize = 5;
const MANAGER: &str = "kubectl-imagebatch";

/// Submits a CSV.
pub(super) async fn submit(cluster: &Cluster, gateway: &Gateway<'_>, args: &SubmitArgs) -> anyhow::Result<End> {
    let rules = Rules { limits: args.limits.limits(), validation: args.validation.validation() };
    let checked = Checked::of(&args.file, &rules)?;
    checked.show();
    if checked.end() == End::Failed {
        note(&format!("{}; no batch was made", checked.verdict()));
        return Ok(End::Failed);
    }
    let size = std::fs::metadata(&args.file).with_context(|| format!("failed to read {}", args.file.display()))?.len();
    let via = args.via.unwrap_or(if size <= MAX_CONFIG_MAP { Via::ConfigMap } else { Via::Gateway });
    let name = match via {
        Via::ConfigMap => by_config_map(cluster, args, size).await?,
        Via::Gateway if args.name.is_some() => {
            bail!("--name: the gateway, which takes files of this size, names batches itself; use --display-name")
        }
        Via::Gateway => {
            let query = args.options.query(&cluster.namespace, rules.validation);
            upload::upload(&gateway.connect().await?, &args.file, size, &query).await?
        }
    };
    let data = args.output.and_then(Format::data);
    if data.is_none() && !(args.wait && args.output == Some(Format::Name)) {
        let done = if args.output == Some(Format::Name) { "" } else { " created" };
        print_line(&format!("{}{done}", full_name(&name)))?;
    }
    if args.wait {
        return wait(cluster, &name, args.output).await;
    }
    match data {
        Some(data) => print_data(data, &cluster.get(&name).await?)?,
        None if args.output.is_none() => {
            note(&format!("  kubectl imagebatch watch {name}{}    follows it", cluster.flags));
        }
        None => {}
    }
    Ok(End::Done)
}

/// Makes a ConfigMap with the CSV, and a batch of it that owns it; returns the batch's name.
async fn by_config_map(cluster: &Cluster, args: &SubmitArgs, size: u64) -> anyhow::Result<String> {
    if size > MAX_CONFIG_MAP {
        bail!(
            "--via config-map: {} has {size} bytes, and a ConfigMap has room for {MAX_CONFIG_MAP}",
            args.file.display()
        );
    }
    let csv = std::fs::read(&args.file).with_context(|| format!("failed to read {}", args.file.display()))?;
    let name = args.name.clone().unwrap_or_else(|| name_for(&args.file));
    let source = Source {
        config_map_key_ref: Some(ConfigMapKey { name: name.clone(), key: KEY.to_owned() }),
        ..Source::default()
    };
    let mut batch = ImageBatch::new(&name, args.options.spec(&source, args.validation.validation())?);
    if let Some(text) = &args.options.display_name {
        batch.annotations_mut().insert(labels::DISPLAY_NAME.to_owned(), text.clone());
    }
    let config_maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    // The ConfigMap first: a batch without its source would wait.
    let config_map = config_map(&name, csv);
    bounded(&format!("create ConfigMap {name:?}"), config_maps.create(&params, &config_map)).await?;
    let created = match bounded(&format!("create ImageBatch {name:?}"), cluster.batches().create(&params, &batch)).await
    {
        Ok(created) => created,
        Err(error) => {
            let params = DeleteParams::default();
            let delete = config_maps.delete(&name, &params);
            if let Err(left) = bounded(&format!("delete ConfigMap {name:?}"), delete).await {
                note(&format!("{left:#}; delete it by hand"));
            }
            return Err(error);
        }
    };
    let owners = Patch::Merge(json!({ "metadata": { "ownerReferences": [created.owner_ref(&())] } }));
    let params = PatchParams::default();
    let owned = config_maps.patch(&name, &params, &owners);
    if let Err(error) = bounded(&format!("let ImageBatch {name:?} own ConfigMap {name:?}"), owned).await {
        note(&format!("{error:#}; the batch runs, and the ConfigMap stays when it is deleted"));
    }
    Ok(name)
}

fn config_map(name: &str, csv: Vec<u8>) -> ConfigMap {
    let labels = [("app.kubernetes.io/part-of", "imagebatch"), ("app.kubernetes.io/managed-by", MANAGER)];
    let labels = labels.into_iter().chain([(labels::BATCH_NAME, name)]);
    let mut config_map = ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()),
            ..ObjectMeta::default()
        },
        // What a running batch reads may not change under it.
        immutable: Some(true),
        ..ConfigMap::default()
    };
    match String::from_utf8(csv) {
        Ok(text) => config_map.data = Some([(KEY.to_owned(), text)].into()),
        Err(error) => config_map.binary_data = Some([(KEY.to_owned(), ByteString(error.into_bytes()))].into()),
    }
    config_map
}

/// Returns a name for the batch of a file: that of the file, and something that no other has.
fn name_for(file: &Path) -> String {
    let stem = file.file_stem().map(|it| it.to_string_lossy().to_lowercase()).unwrap_or_default();
    let letter = |it: char| if it.is_ascii_lowercase() || it.is_ascii_digit() { it } else { '-' };
    let mut base: String = stem.chars().map(letter).take(MAX_NAME - SUFFIX - 1).collect();
    base = base.split('-').filter(|it| !it.is_empty()).collect::<Vec<_>>().join("-");
    let base = if base.is_empty() { "batch" } else { &base };
    // Kubernetes' own letters: no vowels, so no words.
    let letters: Vec<char> = "bcdfghjklmnpqrstvwxz2456789".chars().collect();
    let suffix: String = (0..SUFFIX).filter_map(|_| fastrand::choice(&letters)).collect();
    format!("{base}-{suffix}")
}

fn parse_name(text: &str) -> Result<String, String> {
    let inner = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-';
    let is_name = (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(inner);
    if !is_name || text.starts_with('-') || text.ends_with('-') {
        return Err(format!("give 1 to {MAX_NAME} lower-case letters, digits and inner hyphens"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_give_batches_their_names() {
        for (file, base) in
            [("Spring 2026.csv", "spring-2026-"), ("/a/ü.csv", "batch-"), ("", "batch-"), ("a_-_b.tar.csv", "a-b-tar-")]
        {
            let name = name_for(Path::new(file));
            assert!(name.starts_with(base) && name.len() == base.len() + SUFFIX, "{name}");
            assert_eq!(parse_name(&name).as_ref(), Ok(&name));
        }
        assert!(name_for(Path::new(&"x".repeat(100))).len() <= MAX_NAME);
    }
}
