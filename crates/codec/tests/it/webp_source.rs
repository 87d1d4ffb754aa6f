//! WebP files to test with, and another decoder than the codec's own: libwebp.

use webpx::{AnimationEncoder, Encoder, Unstoppable};

use crate::sample::Picture;

pub(crate) fn lossy_webp(picture: &Picture, quality: u8) -> Vec<u8> {
    encoder(picture).quality(f32::from(quality)).encode(Unstoppable).expect("the picture is sound")
}

pub(crate) fn lossless_webp(picture: &Picture) -> Vec<u8> {
    encoder(picture).lossless(true).exact(true).encode(Unstoppable).expect("the picture is sound")
}

fn encoder(picture: &Picture) -> Encoder<'_> {
    match picture.channels {
        3 => Encoder::new_rgb(&picture.samples, picture.width, picture.height),
        4 => Encoder::new_rgba(&picture.samples, picture.width, picture.height),
        other => panic!("WebP has no {other} channels"),
    }
}

/// Writes pictures as frames of a tenth of a second.
pub(crate) fn animated_webp(frames: &[Picture]) -> Vec<u8> {
    let mut encoder = AnimationEncoder::new(frames[0].width, frames[0].height).expect("the size is sound");
    for (frame, time) in frames.iter().zip((0..).step_by(100)) {
        // Something has to change, or frames are merged.
        let mut samples = frame.rgba().samples;
        samples[0] = samples[0].wrapping_add((time / 2) as u8);
        samples[3] = 255;
        encoder.add_frame_rgba(&samples, time).expect("the frame is sound");
    }
    encoder.finish(100 * frames.len() as i32).expect("the frames are sound")
}

/// Returns the chunks of a file, each as name and content.
pub(crate) fn webp_chunks(webp: &[u8]) -> Vec<([u8; 4], &[u8])> {
    let (mut chunks, mut rest) = (Vec::new(), &webp[12..]);
    while let Some((&[n0, n1, n2, n3, length @ ..], tail)) = rest.split_first_chunk::<8>() {
        let (content, tail) = tail.split_at(u32::from_le_bytes(length) as usize);
        chunks.push(([n0, n1, n2, n3], content));
        rest = &tail[content.len() % 2..];
    }
    chunks
}

pub(crate) fn write_webp(chunks: &[([u8; 4], &[u8])]) -> Vec<u8> {
    let mut bytes = b"RIFF\0\0\0\0WEBP".to_vec();
    for (name, content) in chunks {
        bytes.extend(name);
        bytes.extend((content.len() as u32).to_le_bytes());
        bytes.extend(*content);
        bytes.extend(vec![0; content.len() % 2]);
    }
    let length = (bytes.len() - 8) as u32;
    bytes[4..8].copy_from_slice(&length.to_le_bytes());
    bytes
}

/// Puts a file's picture beside a profile (where flag 0x20 is set) and EXIF.
pub(crate) fn container(webp: &[u8], flags: u8, profile: &[u8], exif: &[u8]) -> Vec<u8> {
    let picture = decode_webp(webp);
    let side = |side: u32| (side - 1).to_le_bytes()[..3].to_vec();
    let header = [&[flags, 0, 0, 0][..], &side(picture.width), &side(picture.height)].concat();
    let mut chunks: Vec<([u8; 4], &[u8])> = vec![(*b"VP8X", &header)];
    if flags & 0x20 != 0 {
        chunks.push((*b"ICCP", profile));
    }
    chunks.extend(webp_chunks(webp).into_iter().filter(|(name, _)| matches!(name, b"ALPH" | b"VP8 " | b"VP8L")));
    chunks.push((*b"EXIF", exif));
    write_webp(&chunks)
}

/// Decodes to RGBA.
pub(crate) fn decode_webp(bytes: &[u8]) -> Picture {
    let (samples, width, height) = webpx::decode_rgba(bytes).expect("other decoders can read it");
    Picture { width, height, channels: 4, samples }
}
