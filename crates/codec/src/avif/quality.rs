//! Quality, what it is for the encoder, and what a quantizer stands for.
//!
//! The scale is that of sharp, so that the same number looks the same: the points below were
//! measured with SSIMULACRA2 over photographs of 800 pixels a side, and lie on straight lines.

use super::stream::Stream;

/// Quality of a picture that is stored without loss.
pub(super) const LOSSLESS: u8 = 100;

/// From here on chroma is as fine as luma.
pub(super) const FULL_CHROMA: u8 = 85;

/// Our quality and the encoder's, where chroma is coarser than luma, and for grey.
const COARSE: [(f32, f32); 8] =
    [(1.0, 8.0), (20.0, 32.0), (35.0, 46.0), (50.0, 62.0), (65.0, 77.0), (80.0, 88.0), (90.0, 95.0), (100.0, 99.0)];
/// The same where chroma is as fine as luma.
const FINE: [(f32, f32); 8] =
    [(1.0, 7.0), (20.0, 30.0), (35.0, 44.0), (50.0, 57.0), (65.0, 70.0), (80.0, 82.0), (90.0, 90.5), (100.0, 99.0)];
/// Our quality and the quantizer of libaom 3.15 as sharp uses it, which is tuned for stills: it
/// scales the steps by matrices.
const MATRICES: [(f32, f32); 9] = [
    (1.0, 250.0),
    (20.0, 216.0),
    (35.0, 184.0),
    (50.0, 148.0),
    (65.0, 108.0),
    (80.0, 60.0),
    (90.0, 32.0),
    (97.0, 12.0),
    (100.0, 0.0),
];

/// Returns what the encoder calls a quality; `fine` is whether chroma is as fine as luma.
pub(super) fn for_encoder(quality: u8, fine: bool) -> u8 {
    // At most 99: all points are.
    between(if fine { &FINE } else { &COARSE }, f32::from(quality)).round() as u8
}

/// Estimates the quality of a stream by its first quantizer; one that is not known counts as the
/// highest.
pub(super) fn of(stream: &Stream) -> u8 {
    let Some(quantizer) = stream.quantizer.filter(|quantizer| quantizer.index > 0) else { return LOSSLESS };
    let index = f32::from(quantizer.index);
    let swapped = |points: &[(f32, f32)]| points.iter().map(|&(ours, theirs)| (theirs, ours)).collect::<Vec<_>>();
    let quality = if quantizer.matrices {
        between(&swapped(&MATRICES), index)
    } else {
        // The encoder's quality is cut into 64 steps, each four quantizers apart.
        let fine = !stream.sequence.subsampled && !stream.sequence.grey;
        between(&swapped(if fine { &FINE } else { &COARSE }), 100.0 - (index / 4.0).round() * 100.0 / 63.0)
    };
    // Within 1 to 100, as all points are.
    quality.round() as u8
}

/// Returns what lies on the lines through the points, which are in order, at `x`.
fn between(points: &[(f32, f32)], x: f32) -> f32 {
    let [first, .., last] = points else { return x };
    let x = x.clamp(first.0.min(last.0), first.0.max(last.0));
    let lines = points.windows(2).map(|pair| (pair[0], pair[1]));
    let line = lines.into_iter().find(|(a, b)| (a.0.min(b.0)..=a.0.max(b.0)).contains(&x));
    line.map_or(last.1, |(a, b)| a.1 + (b.1 - a.1) * (x - a.0) / (b.0 - a.0))
}
