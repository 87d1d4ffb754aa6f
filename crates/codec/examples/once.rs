//! Compresses one image so many times and does nothing else, so that instructions can be counted:
//! `once <effort> <quality> <repetitions> <image>`.

use std::{env, error::Error, fs, hint::black_box};

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<_> = env::args().skip(1).collect();
    let [effort, quality, repetitions, image] = words.as_slice() else {
        return Err("usage: once small|fast QUALITY REPETITIONS IMAGE".into());
    };
    let effort = if effort == "fast" { codec::Effort::Fast } else { codec::Effort::Small };
    let quality = codec::Quality::Absolute(quality.parse()?);
    let options = codec::Options { quality, effort, ..codec::Options::default() };
    let source = fs::read(image)?;
    for _ in 0..repetitions.parse()? {
        black_box(codec::compress(black_box(&source), &options, &codec::Limits::default())?);
    }
    Ok(())
}
