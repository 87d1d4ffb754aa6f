//! The fuzz targets' checks over the kept corpus, also over files that are cut or damaged.

#[path = "../../../fuzz/codec_checks.rs"]
mod codec_checks;

use std::{fs, path::PathBuf};

use codec_checks::{codec_avif, codec_gif, codec_jpeg, codec_png, codec_tiff_bmp, codec_webp};

type Check = fn(&[u8]);

/// Each target with its check.
const TARGETS: [(&str, Check); 6] = [
    ("codec_jpeg", codec_jpeg),
    ("codec_png", codec_png),
    ("codec_webp", codec_webp),
    ("codec_gif", codec_gif),
    ("codec_tiff_bmp", codec_tiff_bmp),
    ("codec_avif", codec_avif),
];

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder: PathBuf = [env!("CARGO_MANIFEST_DIR"), "../../fuzz/corpus", target].iter().collect();
    let entries = fs::read_dir(&folder).expect("the folder is there");
    let read = |entry: fs::DirEntry| fs::read(entry.path()).expect("the file is readable");
    let files: Vec<_> = entries.map(|entry| read(entry.expect("the folder is readable"))).collect();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    files
}

#[test]
fn the_corpus_passes_the_checks_of_its_target() {
    for (target, check) in TARGETS {
        for file in corpus(target) {
            check(&file);
        }
    }
}

#[test]
fn damaged_files_pass_the_checks_of_their_target() {
    let mut random = fastrand::Rng::with_seed(1_125);
    for (target, check) in TARGETS {
        for file in corpus(target) {
            for _ in 0..20 {
                let mut damaged = file[..random.usize(file.len() / 2..=file.len())].to_vec();
                for _ in 0..random.usize(1..4) {
                    let at = random.usize(..damaged.len());
                    damaged[at] = random.u8(..);
                }
                check(&damaged);
            }
        }
    }
}
