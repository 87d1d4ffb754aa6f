//! `compressor compress-file`: the same codec, in the same sandbox, on local files.

mod summary;

use std::collections::HashSet;
use std::io::{Error, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use futures::{StreamExt, stream};
use indicatif::ProgressBar;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::StageError;
use super::sandbox::{Sandbox, Settings, StartError};
use crate::api::compression::{Compression, Effort, OutputFormat, parse_quality};
use crate::manifest::image_limits::ImageLimitArgs;
use summary::Summary;

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
    #[arg(long, default_value = "50%", value_parser = quality)]
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
    /// Images that are compressed at the same time; by default one a CPU.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Most bytes of a file, and of its result.
    #[arg(long, default_value_t = 25 << 20)]
    max_bytes: usize,
    #[command(flatten)]
    limits: ImageLimitArgs,
}

/// What a file became.
#[derive(Debug)]
struct Done {
    name: PathBuf,
    before: usize,
    bytes: Vec<u8>,
    word: &'static str,
    line: String,
}

/// Why a file has no result: the failure's code, `Failed` where a file could not be read or written, and a line.
type NotDone = (&'static str, String);

/// Compresses the files, prints a line for each in their order and a table of all; fails when any failed.
pub(crate) async fn compress_files(args: &CompressFileArgs) -> Result<(), StageError> {
    let failed = |action| move |source| StageError::Stream { action, source };
    std::fs::create_dir_all(&args.output).map_err(failed("create the folder"))?;
    let options = Compression {
        quality: args.quality.clone(),
        min_quality: args.min_quality,
        format: args.format,
        max_width: args.max_width,
        max_height: args.max_height,
        effort: args.effort,
    };
    let threads = args.threads.map_or_else(cpus, usize::from);
    let sandbox = Sandbox::new(Settings::of_this_executable(&args.limits, args.max_bytes, threads));
    // A few wait, so that a slow file does not hold up those behind it.
    let mut results = stream::iter(&args.inputs)
        .map(async |input| (input, compress_file(&sandbox, &options, input).await))
        .buffered(4 * threads);
    // Hidden where standard error is no terminal.
    let bar = ProgressBar::new(args.inputs.len() as u64);
    let (mut summary, mut written) = (Summary::default(), HashSet::new());
    while let Some((input, result)) = results.next().await {
        let result = result?.and_then(|done| write(&args.output, done, &mut written));
        let (word, bytes, line) = match result {
            Ok(done) => (done.word, Some((done.before as u64, done.bytes.len() as u64)), done.line),
            Err((word, line)) => (word, None, line),
        };
        let print = || writeln!(std::io::stdout().lock(), "{}: {line}", input.display());
        bar.suspend(print).map_err(failed("print"))?;
        summary.add(word, bytes);
        bar.inc(1);
    }
    drop(results);
    sandbox.end().await;
    bar.finish_and_clear();
    write!(std::io::stdout().lock(), "\n{summary}").map_err(failed("print"))?;
    match summary.failed() {
        0 => Ok(()),
        count => {
            let message = format!("{count} of {} files failed", args.inputs.len());
            Err(failed("compress local files")(Error::other(message)))
        }
    }
}

fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

async fn compress_file(
    sandbox: &Sandbox,
    options: &Compression,
    input: &Path,
) -> Result<Result<Done, NotDone>, StartError> {
    let source = match tokio::fs::read(input).await {
        Ok(source) => source,
        Err(error) => return Ok(Err(("Failed", error.to_string()))),
    };
    let compressed = match sandbox.compress(&source, options).await? {
        Ok(compressed) => compressed,
        Err(failure) => {
            let word = failure.reason.as_str();
            return Ok(Err((word, format!("{word}: {}", failure.message))));
        }
    };
    let mut name = PathBuf::from(input.file_name().unwrap_or_default());
    if compressed.format != compressed.source_format {
        name.set_extension(compressed.format.extension());
    }
    let before = source.len();
    let (word, bytes) = compressed.bytes.map_or(("KeptOriginal", source), |bytes| ("Compressed", bytes));
    let (after, from, to) = (bytes.len(), compressed.source_quality, compressed.quality);
    let line = format!("{word}, {before} -> {after} bytes ({} %), quality {from} -> {to}", after * 100 / before.max(1));
    Ok(Ok(Done { name, before, bytes, word, line }))
}

/// Writes a result, unless another one of this run has its name.
fn write(folder: &Path, done: Done, written: &mut HashSet<PathBuf>) -> Result<Done, NotDone> {
    if !written.insert(done.name.clone()) {
        return Err(("Failed", format!("the result of an image before it is {}", done.name.display())));
    }
    match std::fs::write(folder.join(&done.name), &done.bytes) {
        Ok(()) => Ok(done),
        Err(error) => Err(("Failed", error.to_string())),
    }
}

fn quality(text: &str) -> Result<IntOrString, String> {
    parse_quality(text).ok_or_else(|| "give 1 to 100, or 1% to 100%".to_owned())
}

fn parse_format(text: &str) -> Result<OutputFormat, String> {
    let found = OutputFormat::WORDS.iter().find(|(word, _)| *word == text);
    found.map(|(_, format)| *format).ok_or_else(|| "give keep, jpeg, png, webp or avif".to_owned())
}

fn parse_effort(text: &str) -> Result<Effort, String> {
    let found = Effort::WORDS.iter().find(|(word, _)| *word == text);
    found.map(|(_, effort)| *effort).ok_or_else(|| "give small or fast".to_owned())
}
