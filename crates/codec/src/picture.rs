//! Decoded pixels, between any decoder and any encoder.

use crate::{orientation::Orientation, resize::Size};

/// How a picture's samples are meant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Color {
    /// sRGB, or grey with its curve; also what has no profile counts as this.
    #[default]
    Srgb,
    /// By an ICC profile for RGB, or for grey where the picture is grey.
    Profile(Vec<u8>),
    /// By a PNG's own chunks, each as name and content. Other formats need [`Color`] settled first.
    Chunks(Vec<([u8; 4], Vec<u8>)>),
}

impl Color {
    /// Takes a profile if it fits pictures of so many channels; one made for other colours counts
    /// as absent.
    pub(crate) fn from_profile(profile: Option<Vec<u8>>, channels: usize) -> Self {
        let space: &[u8] = if channels < 3 { b"GRAY" } else { b"RGB " };
        profile.filter(|it| it.get(16..20) == Some(space)).map_or(Self::Srgb, Self::Profile)
    }

    /// Returns whether the samples are coded for high dynamic range, where 8 bits are too few.
    pub(crate) fn is_hdr(&self) -> bool {
        // Code points of ITU-T H.273: 16 is PQ, 18 is HLG.
        self.chunk(*b"cICP").is_some_and(|content| matches!(content.get(1), Some(16 | 18)))
    }

    /// Returns the content of one of a PNG's chunks.
    pub(crate) fn chunk(&self, wanted: [u8; 4]) -> Option<&[u8]> {
        match self {
            Self::Chunks(chunks) => chunks.iter().find(|(name, _)| *name == wanted).map(|(_, content)| &content[..]),
            Self::Srgb | Self::Profile(_) => None,
        }
    }

    /// Returns whether an ICC profile is among it.
    pub(crate) fn has_profile(&self) -> bool {
        matches!(self, Self::Profile(_)) || self.chunk(*b"iCCP").is_some()
    }
}

/// A decoded picture: grey, grey with alpha, RGB or RGBA, by its number of channels. Alpha is not
/// multiplied into the colours.
#[derive(Debug, Clone)]
pub(crate) struct Picture {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) channels: usize,
    /// Whether samples have 16 bits, the high byte first, and not 8.
    pub(crate) wide: bool,
    pub(crate) samples: Vec<u8>,
    pub(crate) color: Color,
}

impl Picture {
    /// Returns the picture as displayed.
    pub(crate) fn turned(self, orientation: Orientation) -> Self {
        let (width, height) = orientation.displayed(self.width, self.height);
        let size = self.channels * if self.wide { 2 } else { 1 };
        let samples = orientation.apply(self.samples, self.width, self.height, size);
        Self { width, height, samples, ..self }
    }

    pub(crate) fn size(&self) -> Size {
        Size { width: self.width, height: self.height }
    }

    pub(crate) fn has_alpha(&self) -> bool {
        self.channels.is_multiple_of(2)
    }

    /// Reduces samples of 16 bits to 8, to the nearest.
    pub(crate) fn narrowed(mut self) -> Self {
        if self.wide {
            let (pairs, _) = self.samples.as_chunks::<2>();
            // At most 255: the whole range of 16 bits, divided by 257.
            self.samples =
                pairs.iter().map(|pair| ((u32::from(u16::from_be_bytes(*pair)) + 128) / 257) as u8).collect();
            self.wide = false;
        }
        self
    }

    /// Removes an alpha channel that hides nothing. The picture has 8 bits a sample.
    pub(crate) fn without_idle_alpha(self) -> Self {
        let channels = self.channels;
        let opaque = self.has_alpha() && self.samples.chunks_exact(channels).all(|pixel| pixel[channels - 1] == 255);
        if opaque { self.flattened() } else { self }
    }

    /// Puts the picture on white, where it has alpha. The picture has 8 bits a sample.
    pub(crate) fn flattened(mut self) -> Self {
        if self.has_alpha() {
            let channels = self.channels - 1;
            let mut samples = Vec::with_capacity(self.samples.len() / self.channels * channels);
            for pixel in self.samples.chunks_exact(self.channels) {
                let alpha = u32::from(pixel[channels]);
                let on_white = |sample: &u8| ((u32::from(*sample) * alpha + 255 * (255 - alpha) + 127) / 255) as u8;
                samples.extend(pixel[..channels].iter().map(on_white));
            }
            self.samples = samples;
            self.channels = channels;
        }
        self
    }

    /// Repeats grey as red, green and blue. The picture has 8 bits a sample.
    pub(crate) fn with_colors(mut self) -> Self {
        if self.channels < 3 {
            let pixels = self.samples.chunks_exact(self.channels);
            self.samples =
                pixels.flat_map(|pixel| [pixel[0]; 3].into_iter().chain(pixel[1..].iter().copied())).collect();
            self.channels += 2;
        }
        self
    }
}
