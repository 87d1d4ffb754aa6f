//! The pool: what children are given, what comes back, and what happens when there are none.

use std::path::{Path, PathBuf};
use std::time::Duration;

use imagebatch::api::compression::{Compression, OutputFormat};
use imagebatch::compressor::sandbox::{Sandbox, Settings};
use imagebatch::manifest::image_limits::ImageLimitArgs;
use imagebatch::manifest::outcome::FailureReason;
use libtest_mimic::Trial;

use crate::child::{MAX_BYTES, UNCONFINED, sandbox, sandbox_of};
use crate::trial;

const MINUTE: Duration = Duration::from_secs(60);

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("the_compressors_own_children_do_what_the_codec_does", own_children_do_what_the_codec_does),
        trial("images_beyond_the_limits_are_refused_by_the_child", images_beyond_the_limits),
        trial("children_have_an_empty_environment", children_have_an_empty_environment),
        trial("sources_larger_than_a_pipe_come_back_whole", large_sources_come_back_whole),
        trial("standard_error_never_holds_a_child_up", standard_error_never_holds_a_child_up),
        trial("without_a_sandbox_no_image_is_to_blame", without_a_sandbox),
    ]
}

/// Returns a pool of the compressor's own children, which the test's executable is not.
fn own(limits: &ImageLimitArgs, max_bytes: usize) -> Sandbox {
    let program = env!("CARGO_BIN_EXE_compressor").into();
    Sandbox::new(Settings { program, ..Settings::of_this_executable(limits, max_bytes, 1) })
}

fn images() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/images")
}

async fn own_children_do_what_the_codec_does() {
    let sandbox = own(&ImageLimitArgs::default(), 25 << 20);
    let compression = |format| Compression { format, max_width: Some(900), ..Compression::default() };
    let wanted = |format| codec::Options { format, max_width: Some(900), ..codec::Options::default() };
    for (ours, theirs) in
        [(OutputFormat::Keep, codec::TargetFormat::Keep), (OutputFormat::WebP, codec::TargetFormat::WebP)]
    {
        for entry in std::fs::read_dir(images()).expect("the images") {
            let path = entry.expect("an entry").path();
            let source = std::fs::read(&path).expect("a file");
            let inside = sandbox.compress(&source, &compression(ours)).await.expect("a child");
            let outside = codec::compress(&source, &wanted(theirs), &codec::Limits::default());
            match (inside, outside) {
                (Ok(inside), Ok(outside)) => assert!(inside == outside, "{}", path.display()),
                (Err(inside), Err(outside)) => {
                    assert_eq!(inside.reason.as_str(), outside.code(), "{}", path.display());
                    assert_eq!(inside.message, outside.to_string());
                }
                (inside, outside) => {
                    let codes = (inside.err().map(|it| it.reason), outside.err().map(|it| it.code()));
                    panic!("{}: {codes:?}", path.display());
                }
            }
        }
    }
}

async fn images_beyond_the_limits() {
    let source = std::fs::read(images().join("wall-clock.jpg")).expect("a file");
    let most = ImageLimitArgs::default();
    let options = Compression { format: OutputFormat::Png, ..Compression::default() };
    let cases = [
        (ImageLimitArgs { image_max_pixels: 1_000, ..most.clone() }, 25 << 20, "pixels, the limit is 1000"),
        (ImageLimitArgs { image_max_side: 100, ..most.clone() }, 25 << 20, "pixels a side, the limit is 100"),
        (most.clone(), 10_000, "bytes, the limit is 10000"),
        // The source has 98,156 bytes, and as PNG many more.
        (most, 100_000, "bytes of the result, the limit is 100000"),
    ];
    for (limits, max_bytes, message) in cases {
        let result = own(&limits, max_bytes).compress(&source, &options).await;
        let failure = result.expect("a child").expect_err(message);
        assert_eq!(failure.reason, FailureReason::ImageTooLarge, "{failure:?}");
        assert!(failure.message.contains(message), "{failure:?}");
    }
}

async fn children_have_an_empty_environment() {
    let counted = sandbox(1, MINUTE).compress(b"count variables", &Compression::default()).await;
    assert_eq!(counted.expect("a child").expect("a result").bytes.as_deref(), Some(b"0".as_slice()));
}

async fn large_sources_come_back_whole() {
    let sandbox = sandbox(1, MINUTE);
    for length in [65_535, 65_536, (1 << 20) + 1, MAX_BYTES] {
        let source: Vec<u8> = (0..length).map(|index| (index % 251) as u8).collect();
        let echo = sandbox.compress(&source, &Compression::default()).await.expect("a child").expect("a result");
        assert!(echo.bytes.is_some_and(|bytes| bytes == source), "{length}");
    }
}

async fn standard_error_never_holds_a_child_up() {
    let sandbox = sandbox(1, MINUTE);
    let options = Compression::default();
    let written = sandbox.compress(b"write much to standard error", &options).await.expect("a child");
    let written = String::from_utf8(written.expect("a result").bytes.expect("a number")).expect("a number");
    assert!(written.parse::<u32>().expect("a number") < 1_000, "not all of it has room: {written}");
    let failure = sandbox.compress(b"abort", &options).await.expect("a child").expect_err("it aborts");
    assert_eq!(failure.reason, FailureReason::CodecCrashed);
}

async fn without_a_sandbox() {
    let options = Compression::default();
    let error = sandbox_of(UNCONFINED, 1, MINUTE).compress(b"good", &options).await.expect_err("no sandbox");
    assert!(error.to_string().contains("there is no seccomp here"), "{error}");
    let nothing = Settings {
        program: "/nowhere/compressor".into(),
        ..Settings::of_this_executable(&ImageLimitArgs::default(), MAX_BYTES, 1)
    };
    let error = Sandbox::new(nothing).compress(b"good", &options).await.expect_err("no program");
    assert_eq!(error.to_string(), "failed to start a codec child");
}
