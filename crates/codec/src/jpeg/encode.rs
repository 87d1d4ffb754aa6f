//! Pixels to JPEG.

use jpeg_encoder::{ChromaSubsamplingMethod, ColorType, Encoder, SamplingFactor};

use super::decode::Pixels;
use crate::Error;

/// Encodes as progressive JPEG of the given quality, 4:2:0 unless grey, with the colour profile.
pub(super) fn encode(pixels: &Pixels, quality: u8) -> Result<Vec<u8>, Error> {
    let failed = |error: jpeg_encoder::EncodingError| Error::EncodeFailed(error.to_string());
    let side =
        |length: u32| u16::try_from(length).map_err(|_| Error::EncodeFailed(format!("a side of {length} pixels")));
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, quality);
    encoder.set_sampling_factor(SamplingFactor::R_4_2_0);
    encoder.set_chroma_subsampling_method(ChromaSubsamplingMethod::Average);
    encoder.set_optimized_huffman_tables(true);
    encoder.set_progressive(true);
    if let Some(icc) = &pixels.icc {
        encoder.add_icc_profile(icc).map_err(failed)?;
    }
    let color = if pixels.channels == 1 { ColorType::Luma } else { ColorType::Rgb };
    let (width, height) = (side(pixels.width)?, side(pixels.height)?);
    encoder.encode(&pixels.samples, width, height, color).map_err(failed)?;
    Ok(bytes)
}
