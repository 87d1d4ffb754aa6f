//! The codec through its public door: bytes in, bytes out, looked at with other decoders.

mod avif;
mod avif_source;
mod convert;
mod errors;
mod gif;
mod hostile;
mod jpeg;
mod jpeg_color;
mod orientation;
mod png;
mod png_alpha;
mod raster_source;
mod resize;
mod sample;
mod tiff_bmp;
mod webp;
mod webp_source;
