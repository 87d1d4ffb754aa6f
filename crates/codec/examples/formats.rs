//! The codec as the benchmark of PNG, WebP and AVIF sees it: a process that answers requests on its
//! standard input.
//!
//! ```text
//! encode <case> <quality> <effort> <input> <output>   -> <CPU nanoseconds> <bytes>
//! score <original> <image>...                         -> <SSIMULACRA2> for each image
//! ```
//!
//! Words are separated by tabs. Start-up and files are outside what is measured. Pictures with alpha
//! are compared on white.
#![allow(clippy::print_stdout)]

use std::{error::Error, fs, hint::black_box, io::Cursor, io::stdin};

use codec::{Effort, Limits, Options, Quality, TargetFormat, compress};
use fast_ssim2::{PixelDescriptor, PixelSlice, Ssimulacra2Reference};
use rustix::time::{ClockId, clock_gettime};

fn main() -> Result<(), Box<dyn Error>> {
    for line in stdin().lines() {
        let line = line?;
        let words: Vec<_> = line.split('\t').collect();
        match words.as_slice() {
            ["encode", case, quality, effort, input, output] => {
                println!("{}", encode(case, quality.parse()?, effort, input, output)?);
            }
            ["score", original, images @ ..] => println!("{}", score(original, images)?),
            _ => return Err(format!("unknown request: {line}").into()),
        }
    }
    Ok(())
}

fn encode(case: &str, quality: u8, effort: &str, input: &str, output: &str) -> Result<String, Box<dyn Error>> {
    let source = fs::read(input)?;
    let format = match case {
        "png" => TargetFormat::Png,
        "avif" => TargetFormat::Avif,
        _ => TargetFormat::WebP,
    };
    let effort = if effort == "fast" { Effort::Fast } else { Effort::Small };
    let options = Options { quality: Quality::Absolute(quality), format, effort, ..Options::default() };
    let start = cpu_time();
    let result = compress(black_box(&source), &options, &Limits::default())?;
    let spent = cpu_time() - start;
    let bytes = result.bytes.unwrap_or(source);
    fs::write(output, &bytes)?;
    Ok(format!("{spent}\t{}", bytes.len()))
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
        answers.push(compare.compare(&slice)?.to_string());
    }
    Ok(answers.join("\t"))
}

/// Decodes to RGB on white.
fn decode(path: &str) -> Result<(u32, u32, Vec<u8>), Box<dyn Error>> {
    let file = fs::read(path)?;
    let (width, height, samples, channels) = if file.starts_with(b"\x89PNG") {
        let mut decoder = png::Decoder::new(Cursor::new(file));
        decoder.set_transformations(png::Transformations::EXPAND | png::Transformations::STRIP_16);
        let mut reader = decoder.read_info()?;
        let mut samples = vec![0; reader.output_buffer_size().ok_or("too large")?];
        let info = reader.next_frame(&mut samples)?;
        (info.width, info.height, samples, info.color_type.samples())
    } else if file.starts_with(b"RIFF") {
        let (samples, width, height) = webpx::decode_rgba(&file)?;
        (width, height, samples, 4)
    } else {
        let pixels = libavif::decode_rgb(&file)?;
        (pixels.width(), pixels.height(), pixels.to_vec(), 4)
    };
    let on_white = |color: u8, alpha: u8| {
        let (color, alpha) = (u32::from(color), u32::from(alpha));
        ((color * alpha + 255 * (255 - alpha)) / 255) as u8
    };
    let pixels = samples.chunks_exact(channels).flat_map(|pixel| match *pixel {
        [grey] => [grey; 3],
        [grey, alpha] => [on_white(grey, alpha); 3],
        [red, green, blue, alpha] => [red, green, blue].map(|color| on_white(color, alpha)),
        [red, green, blue, ..] => [red, green, blue],
        [] => [0; 3],
    });
    Ok((width, height, pixels.collect()))
}
