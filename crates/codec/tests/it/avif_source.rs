//! AVIF files to test with, which other programs wrote, and a reader that knows nothing of the
//! codec's own: libavif's.

use std::{fs, path::PathBuf};

use crate::sample::{Picture, decode_png};

/// Reads one of the files that `tests/data/avif/make.py` made.
pub(crate) fn avif(name: &str) -> Vec<u8> {
    read(&format!("{name}.avif"))
}

/// Returns the picture that all of them show, with its alpha channel; of grids it is another one.
pub(crate) fn original(name: &str) -> Picture {
    decode_png(&read(if name.starts_with("grid") { "grid.png" } else { "picture.png" }))
}

fn read(name: &str) -> Vec<u8> {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/data/avif", name].iter().collect();
    fs::read(&path).unwrap_or_else(|error| panic!("failed to read {}: {error}", path.display()))
}

/// Decodes to RGBA as stored.
pub(crate) fn decode_avif(bytes: &[u8]) -> Picture {
    let pixels = libavif::decode_rgb(bytes).expect("other decoders can read it");
    Picture { width: pixels.width(), height: pixels.height(), channels: 4, samples: pixels.to_vec() }
}

/// Returns where each box of this name begins, counted from its name.
pub(crate) fn boxes(avif: &[u8], name: [u8; 4]) -> Vec<usize> {
    avif.windows(4).enumerate().filter(|(_, window)| *window == name).map(|(at, _)| at).collect()
}
