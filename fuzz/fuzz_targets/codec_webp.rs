#![no_main]

#[path = "../codec_checks.rs"]
mod codec_checks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| codec_checks::codec_webp(bytes));
