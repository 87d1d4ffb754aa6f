//! Frames to an animated WebP, by libwebp.

use webpx::AnimationEncoder;

use super::container;
use crate::{Error, picture::Color, resize::Size};

/// An animation that is being written.
pub(crate) struct Animation {
    encoder: AnimationEncoder,
    size: Size,
    /// When the next frame begins, in milliseconds.
    time: i32,
}

impl Animation {
    /// Begins an animation that plays so often; zero is for ever.
    pub(crate) fn new(size: Size, plays: u32, quality: u8) -> Result<Self, Error> {
        let plays = plays.min(u16::MAX.into());
        let mut encoder = AnimationEncoder::with_options(size.width, size.height, false, plays).map_err(failed)?;
        encoder.set_quality(f32::from(quality));
        Ok(Self { encoder, size, time: 0 })
    }

    /// Adds a frame of RGBA, as large as the animation, that is shown so many milliseconds.
    pub(crate) fn add(&mut self, samples: &[u8], milliseconds: u32) -> Result<(), Error> {
        self.encoder.add_frame_rgba(samples, self.time).map_err(failed)?;
        // The format has 24 bits for it, and the encoder wants time to move on.
        self.time = self.time.saturating_add(milliseconds.clamp(1, 0xff_ffff) as i32);
        Ok(())
    }

    /// Returns the file.
    pub(crate) fn finish(self, color: &Color) -> Result<Vec<u8>, Error> {
        let bytes = self.encoder.finish(self.time).map_err(failed)?;
        let Color::Profile(profile) = color else { return Ok(bytes) };
        let with_profile = container::with_profile(&bytes, self.size, profile);
        with_profile.ok_or_else(|| Error::EncodeFailed("no WebP came out".to_owned()))
    }
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::EncodeFailed(error.to_string())
}
