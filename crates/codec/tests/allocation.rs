//! What a file claims or packs is refused before memory is spent on it.
//!
//! A process of its own, because it counts what the whole process allocates.

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
    for (case, source) in &cases {
        let peak = counter::peak(|| {
            drop(codec::compress(source, &codec::Options::default(), &codec::Limits::default()));
        });
        // The file itself is copied a few times; its profile may unfold to 4 MiB.
        let bound = (6 << 20) + 4 * source.len();
        assert!(peak < bound, "{case}: {peak} bytes for a file of {}", source.len());
    }
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
