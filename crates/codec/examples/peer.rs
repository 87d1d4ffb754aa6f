//! The codec as the benchmark sees it: a process that answers requests on its standard input.
//!
//! ```text
//! encode <effort> <quality> <repetitions> <input> <output>   -> <CPU nanoseconds> <bytes>
//! size <image>                                              -> <pixels> <half its quality>
//! score <original> <image>...                                -> <SSIMULACRA2> <PSNR> for each image
//! ```
//!
//! Words are separated by tabs. Start-up and files are outside what is measured.
#![allow(clippy::print_stdout)]

use std::{error::Error, fs, hint::black_box, io::stdin};

use fast_ssim2::{PixelDescriptor, PixelSlice, Ssimulacra2Reference};
use rustix::time::{ClockId, clock_gettime};
use zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions};
use zune_jpeg::JpegDecoder;

fn main() -> Result<(), Box<dyn Error>> {
    for line in stdin().lines() {
        let line = line?;
        let words: Vec<_> = line.split('\t').collect();
        match words.as_slice() {
            ["encode", effort, quality, repetitions, input, output] => {
                println!("{}", encode(effort, quality, repetitions.parse()?, input, output)?);
            }
            ["size", image] => {
                let result = codec::compress(&fs::read(image)?, &codec::Options::default(), &codec::Limits::default())?;
                println!("{}\t{}", u64::from(result.width) * u64::from(result.height), result.quality);
            }
            ["score", original, images @ ..] => println!("{}", score(original, images)?),
            _ => return Err(format!("unknown request: {line}").into()),
        }
    }
    Ok(())
}

fn encode(effort: &str, quality: &str, repetitions: u32, input: &str, output: &str) -> Result<String, Box<dyn Error>> {
    let source = fs::read(input)?;
    let limits = codec::Limits::default();
    let effort = if effort == "fast" { codec::Effort::Fast } else { codec::Effort::Small };
    let quality = match quality.strip_suffix('%') {
        Some(share) => codec::Quality::Relative(share.parse()?),
        None => codec::Quality::Absolute(quality.parse()?),
    };
    let options = codec::Options { quality, effort, ..codec::Options::default() };
    let start = cpu_time();
    let mut bytes = Vec::new();
    for _ in 0..repetitions {
        bytes = codec::compress(black_box(&source), &options, &limits)?.bytes.unwrap_or_else(|| source.clone());
    }
    let spent = cpu_time() - start;
    fs::write(output, &bytes)?;
    Ok(format!("{}\t{}", spent / u64::from(repetitions), bytes.len()))
}

/// Returns the nanoseconds this process's only thread has run.
fn cpu_time() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn score(original: &str, images: &[&str]) -> Result<String, Box<dyn Error>> {
    let (width, height, reference) = decode(original)?;
    let stride = width as usize * 3;
    let compare =
        Ssimulacra2Reference::new(&PixelSlice::new(&reference, width, height, stride, PixelDescriptor::RGB8_SRGB)?)?;
    let mut answers = Vec::new();
    for image in images {
        let (image_width, image_height, pixels) = decode(image)?;
        if (image_width, image_height) != (width, height) {
            return Err(format!("{image} is {image_width} x {image_height}, {original} is {width} x {height}").into());
        }
        let slice = PixelSlice::new(&pixels, width, height, stride, PixelDescriptor::RGB8_SRGB)?;
        answers.push(format!("{}\t{}", compare.compare(&slice)?, psnr(&reference, &pixels)));
    }
    Ok(answers.join("\t"))
}

fn decode(path: &str) -> Result<(u32, u32, Vec<u8>), Box<dyn Error>> {
    let options = DecoderOptions::default().jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(fs::read(path)?), options);
    let pixels = decoder.decode().map_err(|error| format!("{path}: {error}"))?;
    let (width, height) = decoder.dimensions().ok_or("no size")?;
    Ok((width as u32, height as u32, pixels))
}

fn psnr(left: &[u8], right: &[u8]) -> f64 {
    let sum: u64 = left.iter().zip(right).map(|(l, r)| u64::from(l.abs_diff(*r)).pow(2)).sum();
    let mean = sum as f64 / left.len() as f64;
    10.0 * (255.0 * 255.0 / mean.max(1e-9)).log10()
}
