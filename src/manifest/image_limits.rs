//! Bounds of one image, and the flags that set them: the controller hands its own on to the pods.

use clap::Args;

/// Bounds of an image, beside that of its file's bytes, which is the fetch's.
#[derive(Args, Debug, Clone, PartialEq, Eq)]
pub struct ImageLimitArgs {
    /// Most pixels of an image, summed over the frames of an animation.
    #[arg(long, env = "IMAGEBATCH_IMAGE_MAX_PIXELS", default_value_t = 50_000_000, value_parser = clap::value_parser!(u64).range(1..=1 << 32))]
    pub image_max_pixels: u64,
    /// Most pixels of an image's width, and of its height.
    #[arg(long, env = "IMAGEBATCH_IMAGE_MAX_SIDE", default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub image_max_side: u32,
    /// Most seconds that the codec may work on an image.
    #[arg(long, env = "IMAGEBATCH_IMAGE_TIMEOUT_SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub image_timeout_seconds: u64,
    /// Address space of a codec child in bytes, everything included; a decoder may take half of what
    /// exceeds 128 MiB.
    #[arg(long, env = "IMAGEBATCH_IMAGE_MEMORY_BYTES", default_value_t = 640 << 20, value_parser = clap::value_parser!(u64).range(192 << 20..=64 << 30))]
    pub image_memory_bytes: u64,
}

impl Default for ImageLimitArgs {
    fn default() -> Self {
        Self {
            image_max_pixels: 50_000_000,
            image_max_side: 16_384,
            image_timeout_seconds: 20,
            image_memory_bytes: 640 << 20,
        }
    }
}

impl ImageLimitArgs {
    /// Returns the variables that set a process's bounds to these.
    #[must_use]
    pub fn variables(&self) -> [(&'static str, String); 4] {
        [
            ("IMAGEBATCH_IMAGE_MAX_PIXELS", self.image_max_pixels.to_string()),
            ("IMAGEBATCH_IMAGE_MAX_SIDE", self.image_max_side.to_string()),
            ("IMAGEBATCH_IMAGE_TIMEOUT_SECONDS", self.image_timeout_seconds.to_string()),
            ("IMAGEBATCH_IMAGE_MEMORY_BYTES", self.image_memory_bytes.to_string()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        limits: ImageLimitArgs,
    }

    #[test]
    fn the_flags_have_the_defaults_of_the_type() {
        assert_eq!(Flags::parse_from(["test"]).limits, ImageLimitArgs::default());
    }

    #[test]
    fn every_bound_has_its_variable() {
        let command = Flags::command();
        let known: Vec<_> = command.get_arguments().filter_map(|it| it.get_env()?.to_str()).collect();
        assert_eq!(ImageLimitArgs::default().variables().map(|(name, _)| name).to_vec(), known);
    }
}
