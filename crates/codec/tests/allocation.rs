//! What a file claims or packs is refused before memory is spent on it.
//!
//! A process of its own, because it counts what the whole process allocates.

use codec::{Effort, Options, Quality};

#[expect(unsafe_code, reason = "an allocator can only be written with unsafe; this one counts for the test")]
mod counter {
    use std::alloc::{GlobalAlloc, Layout, System};
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    static NOW: AtomicUsize = AtomicUsize::new(0);
    static PEAK: AtomicUsize = AtomicUsize::new(0);

    struct Counter;

    #[global_allocator]
    static ALLOCATOR: Counter = Counter;

    // SAFETY: memory comes from the system's allocator and goes back to it with the same layout.
    unsafe impl GlobalAlloc for Counter {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            PEAK.fetch_max(NOW.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
            // SAFETY: the caller's duties are the same.
            unsafe { System.alloc(layout) }
        }

        unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
            NOW.fetch_sub(layout.size(), Relaxed);
            // SAFETY: the caller's duties are the same.
            unsafe { System.dealloc(pointer, layout) }
        }

        unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
            PEAK.fetch_max(NOW.fetch_add(size, Relaxed) + size - layout.size(), Relaxed);
            NOW.fetch_sub(layout.size(), Relaxed);
            // SAFETY: the caller's duties are the same.
            unsafe { System.realloc(pointer, layout, size) }
        }
    }

    /// Returns the most bytes that were held at once during `run`, beyond those held before.
    pub(super) fn peak(run: impl FnOnce()) -> usize {
        let before = NOW.load(Relaxed);
        PEAK.store(before, Relaxed);
        run();
        PEAK.load(Relaxed) - before
    }
}

#[test]
fn claims_and_bombs_cost_no_memory() {
    let zeros = fdeflate::compress_to_vec(&vec![0; 256 << 20]);
    let profile = [b"name\0\0".as_slice(), &zeros].concat();
    let frame = b"\xff\xd8\xff\xc2\0\x0b\x08\xff\xff\xff\xff\x01\x01\x11\0\xff\xda\0\x08\x01\x01\0\0\0\0\xff\xd9";
    let cases = [
        ("JPEG of 65,535 x 65,535", frame.to_vec()),
        ("PNG of 65,535 x 65,535", png([0, 0, 0xff, 0xff], 6, &[], &zeros)),
        ("PNG of 2,147,483,647 x 2,147,483,647", png([0x7f, 0xff, 0xff, 0xff], 6, &[], &zeros)),
        ("pixels beyond the last row", png([0, 0, 0, 16], 0, &[], &zeros)),
        ("packed text", png([0, 0, 0, 16], 0, &[(b"zTXt", &profile)], &zeros)),
        ("packed profile", png([0, 0, 0, 16], 0, &[(b"iCCP", &profile)], &zeros)),
    ];
    let all = cases.into_iter().chain(webp_cases()).chain(raster_cases(&zeros)).chain(avif_cases());
    for (case, source) in &all.collect::<Vec<_>>() {
        let peak = counter::peak(|| {
            drop(codec::compress(source, &codec::Options::default(), &codec::Limits::default()));
        });
        // The file itself is copied a few times; its profile may unfold to 4 MiB.
        let bound = (6 << 20) + 4 * source.len();
        assert!(peak < bound, "{case}: {peak} bytes for a file of {}", source.len());
    }
    // These do have the pixels they claim. Each is refused or done within what a pod has.
    let bombs = [
        ("a hundred scans over 49 megapixels", scans(), Effort::Small),
        ("no zero in 49 megapixels", dense(), Effort::Small),
        ("no zero in 49 megapixels, fast", dense(), Effort::Fast),
    ];
    for (case, source, effort) in &bombs {
        let options = Options { quality: Quality::Absolute(49), effort: *effort, ..Options::default() };
        let peak = counter::peak(|| match codec::compress(source, &options, &codec::Limits::default()) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.code(), "ImageTooLarge", "{case}: {error}"),
        });
        assert!(peak < 400 << 20, "{case}: {peak} bytes for a file of {}", source.len());
    }
}

/// Returns the start of a grey JPEG of 7,000 by 7,000, with libjpeg's table for quality 50 and
/// Huffman codes of one bit: DC differences of zero, and `symbol`.
fn grey(frame: u8, symbol: u8) -> Vec<u8> {
    let table = [
        16, 11, 12, 14, 12, 10, 16, 14, 13, 14, 18, 17, 16, 19, 24, 40, 26, 24, 22, 22, 24, 49, 35, 37, 29, 40, 58, 51,
        61, 60, 57, 51, 56, 55, 64, 72, 92, 78, 64, 68, 87, 69, 55, 56, 80, 109, 81, 87, 95, 98, 103, 104, 103, 62, 77,
        113, 121, 112, 100, 120, 92, 101, 103, 99,
    ];
    let side = 7_000_u16.to_be_bytes();
    let mut bytes = b"\xff\xd8\xff\xdb\0\x43\0".to_vec();
    bytes.extend(table);
    bytes.extend([0xff, frame, 0, 11, 8, side[0], side[1], side[0], side[1], 1, 1, 0x11, 0]);
    for (class, symbol) in [(0x00, 0), (0x10, symbol)] {
        bytes.extend([0xff, 0xc4, 0, 20, class, 1]);
        bytes.extend([0; 15]);
        bytes.push(symbol);
    }
    bytes
}

const BLOCKS: usize = 875 * 875;

/// One scan of zeros, and then as many refinements of nothing as are allowed.
fn scans() -> Vec<u8> {
    // A code for the end of band of 16,384 blocks and more, whose number follows.
    let mut bytes = grey(0xc2, 0xe0);
    bytes.extend(b"\xff\xda\0\x08\x01\x01\0\0\0\0");
    bytes.extend(vec![0; BLOCKS.div_ceil(8)]);
    for _ in 1..100 {
        bytes.extend(b"\xff\xda\0\x08\x01\x01\0\x01\x3f\x10");
        bytes.extend(vec![0; (BLOCKS.div_ceil(1 << 14) * 15).div_ceil(8)]);
    }
    bytes.extend([0xff, 0xd9]);
    bytes
}

/// All coefficients are minus one, at two bits each.
fn dense() -> Vec<u8> {
    let mut bytes = grey(0xc0, 0x01);
    bytes.extend(b"\xff\xda\0\x08\x01\x01\0\0\x3f\0");
    bytes.extend(vec![0; (BLOCKS * 127).div_ceil(8)]);
    bytes.extend([0xff, 0xd9]);
    bytes
}

fn webp_cases() -> Vec<(&'static str, Vec<u8>)> {
    let riff = |chunks: &[(&[u8; 4], &[u8])]| {
        let mut bytes = b"RIFF\0\0\0\0WEBP".to_vec();
        for (name, content) in chunks {
            bytes.extend(*name);
            bytes.extend((content.len() as u32).to_le_bytes());
            bytes.extend(*content);
            bytes.extend(vec![0; content.len() % 2]);
        }
        let length = bytes.len() as u32 - 8;
        bytes[4..8].copy_from_slice(&length.to_le_bytes());
        bytes
    };
    let lossy = b"\x10\0\0\x9d\x01\x2a\xff\x3f\xff\x3f\0\0".as_slice();
    let lossless = b"\x2f\xff\xff\xff\x1f".as_slice();
    let canvas = b"\0\0\0\0\xff\xff\xff\xff\xff\xff".as_slice();
    let small = b"\x10\0\0\x9d\x01\x2a\x10\0\x10\0\0\0".as_slice();
    let head = [0, 0, 0, 0, 0, 0, 15, 0, 0, 15, 0, 0, 0, 0, 0, 0];
    let frame = [&head, b"VP8 \x0c\0\0\0".as_slice(), small].concat();
    let mut animation: Vec<(&[u8; 4], &[u8])> = vec![(b"VP8X", b"\x02\0\0\0\x0f\0\0\x0f\0\0"), (b"ANIM", &[0; 6])];
    animation.extend(vec![(b"ANMF", frame.as_slice()); 50_000]);
    vec![
        ("WebP, lossy, of 16,383 x 16,383", riff(&[(b"VP8 ", lossy)])),
        ("WebP, lossless, of 16,384 x 16,384", riff(&[(b"VP8L", lossless)])),
        ("WebP canvas of 16,777,216 x 16,777,216", riff(&[(b"VP8X", canvas), (b"VP8 ", small)])),
        ("WebP of 50,000 frames", riff(&animation)),
    ]
}

fn raster_cases(zeros: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let frame = b"\x2c\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0".as_slice();
    let gif =
        |canvas: &[u8; 4], frames: &[u8]| [b"GIF89a", canvas.as_slice(), &[0x80, 0, 0], &[0; 6], frames, b";"].concat();
    let mut wide = frame.to_vec();
    wide[5..9].fill(0xff);
    let tiff = |fields: &[(u16, u16, u32, u32)]| {
        let mut bytes = b"MM\0*\0\0\0\x08".to_vec();
        bytes.extend((fields.len() as u16).to_be_bytes());
        for &(tag, kind, count, value) in fields {
            bytes.extend([tag, kind].map(u16::to_be_bytes).concat());
            bytes.extend([count, value].map(u32::to_be_bytes).concat());
        }
        [bytes.as_slice(), &[0; 4], zeros].concat()
    };
    // Grey, packed by zlib, in one strip behind the directory.
    let page = |side: u32, more: (u16, u16, u32, u32)| {
        let (short, long) = (3, 4);
        let strip = 8 + 2 + 12 * 10 + 4;
        let fields = [
            (256, long, 1, side),
            (257, long, 1, side),
            (258, short, 1, 8 << 16),
            (259, short, 1, 8 << 16),
            (262, short, 1, 1 << 16),
            (273, long, 1, strip),
            (277, short, 1, 1 << 16),
            (278, long, 1, side),
            (279, long, 1, zeros.len() as u32),
            more,
        ];
        tiff(&fields)
    };
    let orientation = (274, 3, 1, 1 << 16);
    let mut bmp = b"BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\0\x40\0\0\0\x40\0\0\x01\0\x18\0".to_vec();
    bmp.extend([0; 100]);
    vec![
        ("GIF of 65,535 x 65,535", gif(&[0xff; 4], frame)),
        ("GIF frame of 65,535 x 65,535", gif(&[1, 0, 1, 0], &wide)),
        ("GIF of 50,000 frames", gif(&[1, 0, 1, 0], &frame.repeat(50_000))),
        ("TIFF of 65,536 x 65,536", page(65_536, orientation)),
        ("TIFF with pixels beyond the last row", page(16, orientation)),
        ("TIFF with a profile of 4 GB", page(16, (34_675, 7, u32::MAX, 8))),
        (
            "TIFF with 4 billion strips",
            tiff(&[(256, 4, 1, 16), (257, 4, 1, 16), (273, 4, u32::MAX, 8), (279, 4, u32::MAX, 8)]),
        ),
        ("BMP of 16,384 x 16,384", bmp),
    ]
}

fn avif_cases() -> Vec<(&'static str, Vec<u8>)> {
    let part =
        |name: &[u8; 4], content: &[u8]| [&(content.len() as u32 + 8).to_be_bytes(), &name[..], content].concat();
    // A still of 65,536 x 65,536 in a reduced header, then a frame without a header.
    let stream = b"\x0a\x0a\x18\x07\xff\xff\xff\xff\xf0\0\0\0\x32\x01\0";
    let whole = |side: u32, kind: &[u8; 4], data: &[u8], references: &[u8], places: &[u8]| {
        let size = part(b"ispe", &[[0; 4], side.to_be_bytes(), side.to_be_bytes()].concat());
        let more = part(b"av1C", &[0x81, 0, 0, 0]);
        let owned = part(b"ipma", &[0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 2, 1, 2]);
        let entry = part(b"infe", &[&[2, 0, 0, 0, 0, 1, 0, 0], &kind[..], &[0]].concat());
        let meta = [
            vec![0; 4],
            part(b"pitm", &[0, 0, 0, 0, 0, 1]),
            part(b"iloc", places),
            part(b"iinf", &[&[0, 0, 0, 0, 0, 1], &entry[..]].concat()),
            part(b"iref", references),
            part(b"iprp", &[part(b"ipco", &[size, more].concat()), owned].concat()),
            part(b"idat", data),
        ];
        [part(b"ftyp", b"avif\0\0\0\0avifmif1"), part(b"meta", &meta.concat())].concat()
    };
    // One item in the box itself, from its start to its end.
    let one = [1, 0, 0, 0, 0x44, 0, 0, 1, 0, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    let grid = [0, 0, 255, 255, 0x40, 0, 0x40, 0];
    let round =
        [&[0, 0, 0, 0], &part(b"dimg", &[&[0, 1, 0xff, 0xff], [0_u8, 1].repeat(65_535).as_slice()].concat())[..]];
    // Extents that take no bytes, or all of the file again and again.
    let empty = [&[0, 0, 0, 0, 0, 0, 0xff, 0xff], [0, 1, 0, 0, 0xff, 0xff].repeat(65_535).as_slice()].concat();
    let again = [&[0, 0, 0, 0, 0x44, 0, 0, 1, 0, 1, 0, 0, 0xff, 0xff], vec![0; 8 * 65_535].as_slice()].concat();
    vec![
        ("AVIF of 65,535 x 65,535", whole(65_535, b"av01", stream, &[0; 4], &one)),
        ("AVIF with a stream of 65,536 x 65,536", whole(16, b"av01", stream, &[0; 4], &one)),
        ("AVIF grid of 256 x 256 tiles", whole(16_384, b"grid", &grid, &[0; 4], &one)),
        ("AVIF grid of itself", whole(4_096, b"grid", &grid, &round.concat(), &one)),
        ("AVIF with extents of no length", whole(16, b"av01", stream, &[0; 4], &empty)),
        ("AVIF with the file as its extents", whole(16, b"av01", stream, &[0; 4], &again)),
    ]
}

/// Writes a square PNG of 8 bits a sample around packed pixels.
fn png(side: [u8; 4], color: u8, chunks: &[(&[u8; 4], &[u8])], pixels: &[u8]) -> Vec<u8> {
    let header = [&side[..], &side, &[8, color, 0, 0, 0]].concat();
    let all = [&[(b"IHDR", header.as_slice())], chunks, &[(b"IDAT", pixels), (b"IEND", &[])]].concat();
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    for (name, content) in all {
        bytes.extend((content.len() as u32).to_be_bytes());
        let start = bytes.len();
        bytes.extend(name);
        bytes.extend(content);
        bytes.extend(crc32fast::hash(&bytes[start..]).to_be_bytes());
    }
    bytes
}
