//! JPEG to pixels.

use moxcms::{ColorProfile, Layout, TransformOptions};
use zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions};
use zune_jpeg::{JpegDecoder, errors::DecodeErrors};

use super::header::{Header, Transform};
use crate::{Error, Limits, orientation::Orientation};

/// A decoded picture of 8 bits a sample: grey with one channel, or RGB with three.
#[derive(Debug)]
pub(super) struct Pixels {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) channels: usize,
    pub(super) samples: Vec<u8>,
    /// The profile its colours refer to, sRGB without one.
    pub(super) icc: Option<Vec<u8>>,
}

impl Pixels {
    /// Returns the picture as displayed.
    pub(super) fn turned(self, orientation: Orientation) -> Self {
        let (width, height) = orientation.displayed(self.width, self.height);
        let samples = orientation.apply(self.samples, self.width, self.height, self.channels);
        Self { width, height, samples, ..self }
    }
}

/// Decodes `clean`, the rewritten stream of `header`. The decoder is strict about codes that do not
/// exist; where a scan's data ends early at a marker, it fills up with grey, as browsers do.
pub(super) fn decode(header: &Header, clean: &[u8], limits: &Limits) -> Result<Pixels, Error> {
    let frame = &header.frame;
    limits.check_alloc(memory(header))?;
    let space = match frame.components.len() {
        1 => ColorSpace::Luma,
        3 => ColorSpace::RGB,
        _ => ColorSpace::CMYK,
    };
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(frame.width as usize)
        .set_max_height(frame.height as usize)
        .jpeg_set_out_colorspace(space);
    let samples =
        JpegDecoder::new_with_options(ZCursor::new(clean), options).decode().map_err(|error| classify(&error))?;
    let (width, height) = (frame.width, frame.height);
    if frame.components.len() < 4 {
        let icc = header.icc.clone();
        return Ok(Pixels { width, height, channels: frame.components.len(), samples, icc });
    }
    let adobe = header.adobe.ok_or_else(|| Error::unsupported("JPEG, CMYK without Adobe's mark"))?;
    let samples = convert_cmyk(samples, adobe, header.icc.as_deref());
    Ok(Pixels { width, height, channels: 3, samples, icc: None })
}

/// Returns the bytes needed to decode: the pixels, and of a progressive frame all coefficients.
fn memory(header: &Header) -> u64 {
    let frame = &header.frame;
    let pixels = u64::from(frame.width) * u64::from(frame.height);
    let output = pixels * if frame.components.len() == 4 { 7 } else { frame.components.len() as u64 };
    if !frame.progressive {
        return output;
    }
    let area = |part: &super::header::Component| u64::from(part.horizontal * part.vertical);
    let widest = frame.components.iter().map(|part| part.horizontal).max().unwrap_or(1);
    let tallest = frame.components.iter().map(|part| part.vertical).max().unwrap_or(1);
    let samples: u64 = frame.components.iter().map(area).sum();
    output + 2 * pixels * samples / (u64::from(widest) * u64::from(tallest))
}

fn classify(error: &DecodeErrors) -> Error {
    let detail = error.to_string();
    match error {
        DecodeErrors::ExhaustedData | DecodeErrors::IoErrors(_) => Error::truncated(detail),
        DecodeErrors::FormatStatic("Premature end of buffer" | "Marker missing where expected") => {
            Error::truncated("its scan data ends early")
        }
        DecodeErrors::Unsupported(scheme) => Error::unsupported(format!("JPEG, {scheme:?}")),
        _ => Error::corrupt(detail),
    }
}

/// Converts CMYK as Adobe stores it, 255 being no ink, to sRGB.
fn convert_cmyk(mut samples: Vec<u8>, transform: Transform, icc: Option<&[u8]>) -> Vec<u8> {
    if transform == Transform::Ycc {
        for [y, cb, cr, _] in samples.as_chunks_mut::<4>().0 {
            [*y, *cb, *cr] = ycc_to_cmy(*y, *cb, *cr);
        }
    }
    let mut rgb = vec![0; samples.len() / 4 * 3];
    if let Some(transform) = icc.and_then(profile_transform) {
        invert(&mut samples);
        if transform.transform(&samples, &mut rgb).is_ok() {
            return rgb;
        }
        invert(&mut samples);
    }
    // Without a profile nobody knows the inks; multiplying with black is what browsers do.
    for ([c, m, y, k], pixel) in samples.as_chunks::<4>().0.iter().zip(rgb.as_chunks_mut::<3>().0) {
        *pixel = [c, m, y].map(|ink| ((u16::from(*ink) * u16::from(*k) + 127) / 255) as u8);
    }
    rgb
}

fn invert(samples: &mut [u8]) {
    for sample in samples {
        *sample = 255 - *sample;
    }
}

fn profile_transform(icc: &[u8]) -> Option<std::sync::Arc<moxcms::Transform8BitExecutor>> {
    let inks = ColorProfile::new_from_slice(icc).ok()?;
    let srgb = ColorProfile::new_srgb();
    inks.create_transform_8bit(Layout::Rgba, &srgb, Layout::Rgb, TransformOptions::default()).ok()
}

/// Undoes the YCbCr step of YCCK, in 16-bit fixed point.
fn ycc_to_cmy(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    let (y, cb, cr) = (i32::from(y) << 16, i32::from(cb) - 128, i32::from(cr) - 128);
    let red = y + 91_881 * cr;
    let green = y - 22_554 * cb - 46_802 * cr;
    let blue = y + 116_130 * cb;
    [red, green, blue].map(|value| 255 - ((value + 32_768) >> 16).clamp(0, 255) as u8)
}
