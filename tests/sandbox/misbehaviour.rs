//! What a child does costs the image that it did it with, and nothing else.

use std::time::Duration;

use futures::future::join_all;
use imagebatch::api::compression::Compression;
use imagebatch::manifest::outcome::FailureReason::{self, CodecCrashed, CodecOutOfMemory, CodecTimeout};
use libtest_mimic::Trial;

use crate::child::sandbox;
use crate::trial;

/// Only the child that hangs needs it, also on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(15);

/// What a child is told, and why its image fails.
const CASES: [(&str, FailureReason, &str); 14] = [
    ("hang", CodecTimeout, "after 15 s"),
    ("panic", CodecCrashed, "exit status: 101"),
    ("abort", CodecCrashed, "SIGABRT"),
    ("overflow the stack", CodecCrashed, "SIG"),
    ("allocate at once", CodecOutOfMemory, "memory"),
    ("allocate bit by bit", CodecOutOfMemory, "memory"),
    ("open a file", CodecCrashed, "system call"),
    ("read an inherited file", CodecCrashed, "system call"),
    ("open a socket", CodecCrashed, "system call"),
    ("start a process", CodecCrashed, "system call"),
    ("end the parent", CodecCrashed, "system call"),
    ("lift a limit", CodecCrashed, "system call"),
    ("answer with garbage", CodecCrashed, "a frame is too long"),
    ("answer with too much", CodecCrashed, "a frame is too long"),
];

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("each_misbehaviour_costs_one_image_and_has_its_reason", each_misbehaviour_costs_one_image),
        trial("neighbours_go_on_beside_children_that_end", neighbours_go_on),
    ]
}

async fn each_misbehaviour_costs_one_image() {
    let sandbox = sandbox(1, TIMEOUT);
    let options = Compression::default();
    for (source, reason, message) in CASES {
        let failure = sandbox.compress(source.as_bytes(), &options).await.expect("a child").expect_err(source);
        assert_eq!(failure.reason, reason, "{source}: {failure:?}");
        assert!(failure.message.contains(message), "{source}: {failure:?}");
        let neighbour = sandbox.compress(b"good", &options).await.expect("a child").expect("a result");
        assert_eq!(neighbour.bytes.as_deref(), Some(b"good".as_slice()), "after {source}");
    }
}

async fn neighbours_go_on() {
    let sandbox = sandbox(3, TIMEOUT);
    let options = Compression::default();
    let sources: Vec<String> =
        CASES.iter().flat_map(|(source, ..)| [(*source).to_owned(), format!("good beside {source}")]).collect();
    let results = join_all(sources.iter().map(|source| sandbox.compress(source.as_bytes(), &options))).await;
    for (source, result) in sources.iter().zip(results) {
        let result = result.expect("a child");
        match CASES.iter().find(|(case, ..)| case == source) {
            Some((_, reason, _)) => assert_eq!(result.expect_err(source).reason, *reason, "{source}"),
            None => assert_eq!(result.expect(source).bytes.as_deref(), Some(source.as_bytes())),
        }
    }
}
