//! Colours that a format cannot describe are converted to sRGB, so that they do not shift.

use moxcms::{
    Chromaticity, CicpColorPrimaries, CicpProfile, ColorPrimaries, ColorProfile, Layout, MatrixCoefficients,
    ToneReprCurve, TransferCharacteristics, TransformOptions, curve_from_gamma,
};

use crate::{
    Error,
    picture::{Color, Picture},
};

/// sRGB's primaries and white, as PNG's cHRM chunk has them: in 100,000ths.
const SRGB: [u32; 8] = [31_270, 32_900, 64_000, 33_000, 30_000, 60_000, 15_000, 6_000];

/// Returns the picture, of 8 bits a sample, in colours that an ICC profile describes, or sRGB.
/// High dynamic range has none, and needs more than 8 bits: it is refused.
pub(crate) fn settled(picture: Picture) -> Result<Picture, Error> {
    if picture.color.is_hdr() {
        return Err(Error::unsupported("HDR, which only PNG keeps"));
    }
    if !matches!(picture.color, Color::Chunks(_)) {
        return Ok(picture);
    }
    match profile_of(&picture.color) {
        // Grey has no primaries to convert, and its curve is close enough to gamma 2.2.
        Some(profile) => Ok(converted(picture, &profile)),
        None => Ok(Picture { color: Color::Srgb, ..picture }),
    }
}

/// Returns the picture, of 8 bits a sample, in colours that a profile or code points describe, or
/// sRGB. High dynamic range is refused, as by [`settled`].
pub(crate) fn with_code_points(picture: Picture) -> Result<Picture, Error> {
    let described = picture.color.chunk(*b"cICP").is_some() && !picture.color.is_hdr();
    if described { Ok(picture) } else { settled(picture) }
}

/// Returns grey as RGB; a profile for grey is applied, as none for RGB can replace it.
pub(crate) fn with_colors(picture: Picture) -> Picture {
    let profile = match &picture.color {
        Color::Profile(bytes) if picture.channels < 3 => ColorProfile::new_from_slice(bytes).ok(),
        _ => None,
    };
    match profile {
        Some(profile) => converted(picture, &profile),
        None if picture.channels < 3 => Picture { color: Color::Srgb, ..picture.with_colors() },
        None => picture,
    }
}

/// Returns the picture in sRGB.
fn converted(picture: Picture, profile: &ColorProfile) -> Picture {
    let picture = match picture.channels {
        1 | 2 if profile.color_space != moxcms::DataColorSpace::Gray => picture.with_colors(),
        _ => picture,
    };
    let (from, to, channels) = match picture.channels {
        1 => (Layout::Gray, Layout::Rgb, 3),
        2 => (Layout::GrayAlpha, Layout::Rgba, 4),
        3 => (Layout::Rgb, Layout::Rgb, 3),
        _ => (Layout::Rgba, Layout::Rgba, 4),
    };
    let srgb = ColorProfile::new_srgb();
    let mut samples = vec![0; picture.samples.len() / picture.channels * channels];
    let transform = profile.create_transform_8bit(from, &srgb, to, TransformOptions::default());
    match transform.and_then(|transform| transform.transform(&picture.samples, &mut samples)) {
        Ok(()) => Picture { samples, channels, color: Color::Srgb, ..picture },
        // A profile that cannot be applied is one that no viewer applies.
        Err(_) => Picture { color: Color::Srgb, ..picture.with_colors() },
    }
}

/// Returns the profile a PNG's chunks stand for, in the order in which PNG ranks them; `None` if
/// that is sRGB.
fn profile_of(color: &Color) -> Option<ColorProfile> {
    if let Some(&[primaries, transfer, _, _]) = color.chunk(*b"cICP").and_then(<[u8]>::first_chunk::<4>) {
        return profile_of_code_points(primaries, transfer);
    }
    if color.chunk(*b"sRGB").is_some() {
        return None;
    }
    let long = |bytes: &[u8; 4]| u32::from_be_bytes(*bytes);
    let gamma = color.chunk(*b"gAMA").and_then(<[u8]>::first_chunk).map(long);
    let primaries = color.chunk(*b"cHRM").and_then(<[u8]>::first_chunk::<32>);
    let primaries: Option<Vec<u32>> = primaries.map(|content| content.as_chunks().0.iter().map(long).collect());
    let near = |a: u32, b: u32| a.abs_diff(b) < 1000;
    // What cannot be meant counts as absent.
    let gamma = gamma.filter(|gamma| (10_000..=500_000).contains(gamma) && !near(*gamma, 45_455));
    let primaries = primaries.filter(|it| {
        it.len() == 8
            && it.iter().all(|value| (1..100_000).contains(value))
            && it.iter().zip(SRGB).any(|(a, b)| !near(*a, b))
    });
    if gamma.is_none() && primaries.is_none() {
        return None;
    }
    let mut profile = ColorProfile::new_srgb();
    if let Some(it) = primaries {
        let at = |index: usize| Chromaticity::new(it[index] as f32 / 1e5, it[index + 1] as f32 / 1e5);
        let colors = ColorPrimaries { red: at(2), green: at(4), blue: at(6) };
        profile.update_rgb_colorimetry(at(0).to_xyyb(), colors);
    }
    if let Some(gamma) = gamma {
        set_curve(&mut profile, &curve_from_gamma(1e5 / gamma as f32));
    }
    profile.cicp = None;
    Some(profile)
}

fn set_curve(profile: &mut ColorProfile, curve: &ToneReprCurve) {
    profile.red_trc = Some(curve.clone());
    profile.green_trc = Some(curve.clone());
    profile.blue_trc = Some(curve.clone());
}

/// Returns the profile of ITU-T H.273 code points; `None` if that is sRGB, or not known.
fn profile_of_code_points(primaries: u8, transfer: u8) -> Option<ColorProfile> {
    if (primaries, transfer) == (1, 13) {
        return None;
    }
    let color_primaries = CicpColorPrimaries::try_from(primaries).ok()?;
    let transfer_characteristics = TransferCharacteristics::try_from(transfer).ok()?;
    let matrix_coefficients = MatrixCoefficients::Identity;
    let cicp = CicpProfile { color_primaries, transfer_characteristics, matrix_coefficients, full_range: true };
    let profile = ColorProfile::new_from_cicp(cicp);
    profile.red_trc.is_some().then_some(profile)
}
