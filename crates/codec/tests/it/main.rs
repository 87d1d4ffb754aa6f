//! The codec through its public door: bytes in, bytes out, looked at with other decoders.

mod convert;
mod errors;
mod hostile;
mod jpeg;
mod jpeg_color;
mod orientation;
mod png;
mod png_alpha;
mod resize;
mod sample;
mod webp;
mod webp_source;
