//! `compressor compress-file`: the same codec on local files.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::image::codec_options;
use crate::api::compression::{Compression, Effort, OutputFormat};

/// What to compress, where to, and how much.
#[derive(Args, Debug)]
pub struct CompressFileArgs {
    /// The images.
    #[arg(required = true)]
    inputs: Vec<PathBuf>,
    /// Folder for the results; a result has its source's name, with the extension of its own format
    /// where that is another one.
    #[arg(short, long)]
    output: PathBuf,
    /// Per cent of the source's own quality, for example 50%, or an absolute quality from 1 to 100.
    #[arg(long, default_value = "50%", value_parser = parse_quality)]
    quality: IntOrString,
    /// Relative quality does not go below this.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(i32).range(1..=100))]
    min_quality: i32,
    /// How much to spend on a small result: small or fast.
    #[arg(long, default_value = "small", value_parser = parse_effort)]
    effort: Effort,
    /// Format of the results: keep, jpeg, png, webp or avif. GIF, TIFF and BMP are kept as PNG.
    #[arg(long, default_value = "keep", value_parser = parse_format)]
    format: OutputFormat,
    /// Pictures wider than this many pixels are scaled down.
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..))]
    max_width: Option<i32>,
    /// Pictures higher than this many pixels are scaled down.
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..))]
    max_height: Option<i32>,
}

/// Compresses the files and prints a line for each; fails when any of them failed.
pub(crate) fn compress_files(args: &CompressFileArgs) -> std::io::Result<()> {
    std::fs::create_dir_all(&args.output)?;
    let options = codec_options(&Compression {
        quality: args.quality.clone(),
        min_quality: args.min_quality,
        format: args.format,
        max_width: args.max_width,
        max_height: args.max_height,
        effort: args.effort,
    });
    let mut table = std::io::stdout().lock();
    let mut failed = 0;
    for input in &args.inputs {
        match compress_file(input, &args.output, options) {
            Ok(line) => writeln!(table, "{}: {line}", input.display())?,
            Err(error) => {
                failed += 1;
                writeln!(table, "{}: {error}", input.display())?;
            }
        }
    }
    if failed > 0 {
        return Err(std::io::Error::other(format!("{failed} of {} files failed", args.inputs.len())));
    }
    Ok(())
}

fn compress_file(input: &Path, output: &Path, options: codec::Options) -> std::io::Result<String> {
    let source = std::fs::read(input)?;
    let name = input.file_name().ok_or_else(|| std::io::Error::other("not a file"))?;
    let compressed = codec::compress(&source, &options, &codec::Limits::default())
        .map_err(|error| std::io::Error::other(format!("{}: {error}", error.code())))?;
    let bytes = compressed.bytes.as_deref().unwrap_or(&source);
    let mut path = output.join(name);
    if compressed.format != compressed.source_format {
        path.set_extension(compressed.format.extension());
    }
    std::fs::write(path, bytes)?;
    let what = if compressed.bytes.is_some() { "Compressed" } else { "KeptOriginal" };
    let (before, after) = (source.len(), bytes.len());
    let (from, to) = (compressed.source_quality, compressed.quality);
    Ok(format!("{what}, {before} -> {after} bytes ({} %), quality {from} -> {to}", after * 100 / before.max(1)))
}

fn parse_format(text: &str) -> Result<OutputFormat, String> {
    let found = OutputFormat::WORDS.iter().find(|(word, _)| *word == text);
    found.map(|(_, format)| *format).ok_or_else(|| "give keep, jpeg, png, webp or avif".to_owned())
}

fn parse_effort(text: &str) -> Result<Effort, String> {
    let found = Effort::WORDS.iter().find(|(word, _)| *word == text);
    found.map(|(_, effort)| *effort).ok_or_else(|| "give small or fast".to_owned())
}

fn parse_quality(text: &str) -> Result<IntOrString, String> {
    let number = |digits: &str| digits.parse().ok().filter(|it| (1..=100).contains(it));
    match text.strip_suffix('%') {
        Some(digits) => number(digits).map(|_: i32| IntOrString::String(text.to_owned())),
        None => number(text).map(IntOrString::Int),
    }
    .ok_or_else(|| "give 1 to 100, or 1% to 100%".to_owned())
}
