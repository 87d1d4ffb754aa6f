//! The directories of a TIFF file (TIFF 6.0): size, orientation, and whether it is a TIFF at all.
//!
//! Cameras put their raw pictures into TIFF files with a small preview in front, which must not be
//! taken for the picture.

use crate::{Error, Limits, orientation::Orientation, resize::Size};

const SUBFILE_TYPE: u16 = 254;
const WIDTH: u16 = 256;
const HEIGHT: u16 = 257;
const COMPRESSION: u16 = 259;
const MAKE: u16 = 271;
const ORIENTATION: u16 = 274;
const SUB_DIRECTORIES: u16 = 330;
const EXTRA_SAMPLES: u16 = 338;
const DNG_VERSION: u16 = 50_706;

/// What a file says of itself.
#[derive(Debug)]
pub(super) struct Directory {
    /// Width and height of the first page as stored.
    pub(super) size: Size,
    pub(super) orientation: Orientation,
    /// Number of pages; smaller versions of a page do not count.
    pub(super) pages: u64,
    /// Whether alpha has been multiplied into the colours.
    pub(super) premultiplied: bool,
}

impl Directory {
    /// Reads the first directory, and counts the others.
    pub(super) fn read(source: &[u8], limits: &Limits) -> Result<Self, Error> {
        let reader = Reader { source, little: source.starts_with(b"II") };
        if source.get(8..10) == Some(b"CR") {
            return Err(Error::unsupported("Canon raw (CR2)"));
        }
        let first = reader.long(4)?;
        if let Some(raw) = reader.raw_kind(first)? {
            return Err(Error::unsupported(raw));
        }
        let (width, height) = (reader.value(first, WIDTH)?, reader.value(first, HEIGHT)?);
        let (Some(width), Some(height)) = (width, height) else {
            return Err(Error::corrupt("the TIFF says no size"));
        };
        limits.check_dimensions(width, height)?;
        let orientation = reader.value(first, ORIENTATION)?.and_then(|value| u8::try_from(value).ok());
        let orientation = Orientation::from_tag(orientation.unwrap_or(1));
        let premultiplied = reader.value(first, EXTRA_SAMPLES)? == Some(1);
        let (mut pages, mut directories, mut at) = (0, 0, first);
        while at != 0 {
            directories += 1;
            Limits::check_frames(directories)?;
            pages += u64::from(reader.value(at, SUBFILE_TYPE)?.unwrap_or_default() & 1 == 0);
            at = reader.next(at)?;
        }
        Ok(Self { size: Size { width, height }, orientation, pages, premultiplied })
    }
}

/// Reads numbers of the file's byte order.
#[derive(Clone, Copy)]
struct Reader<'a> {
    source: &'a [u8],
    little: bool,
}

impl Reader<'_> {
    fn bytes<const N: usize>(self, at: u64) -> Result<[u8; N], Error> {
        let rest = usize::try_from(at).ok().and_then(|at| self.source.get(at..));
        let bytes = rest.and_then(<[u8]>::first_chunk).copied();
        bytes.ok_or_else(|| Error::truncated("the TIFF ends before its directory"))
    }

    fn short(self, at: u64) -> Result<u16, Error> {
        let bytes = self.bytes(at)?;
        Ok(if self.little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    }

    fn long(self, at: u64) -> Result<u64, Error> {
        let bytes = self.bytes(at)?;
        Ok(u64::from(if self.little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) }))
    }

    /// Returns where the directory at `directory` has an entry.
    fn entry(self, directory: u64, tag: u16) -> Result<Option<u64>, Error> {
        for index in 0..u64::from(self.short(directory)?) {
            let entry = directory + 2 + 12 * index;
            if self.short(entry)? == tag {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// Returns the first number of an entry that holds short or long ones; only numbers that stand
    /// in the entry itself are looked at.
    fn value(self, directory: u64, tag: u16) -> Result<Option<u32>, Error> {
        let Some(entry) = self.entry(directory, tag)? else { return Ok(None) };
        Ok(match self.short(entry + 2)? {
            1 => Some(u32::from(self.bytes::<1>(entry + 8)?[0])),
            3 => Some(u32::from(self.short(entry + 8)?)),
            // It has 32 bits.
            4 => Some(self.long(entry + 8)? as u32),
            _ => None,
        })
    }

    fn next(self, directory: u64) -> Result<u64, Error> {
        self.long(directory + 2 + 12 * u64::from(self.short(directory)?))
    }

    /// Returns the name of the raw format, if the file is of one.
    fn raw_kind(self, directory: u64) -> Result<Option<&'static str>, Error> {
        if self.entry(directory, DNG_VERSION)?.is_some() {
            return Ok(Some("camera raw (DNG)"));
        }
        let preview = self.value(directory, SUBFILE_TYPE)? == Some(1);
        let compression = self.value(directory, COMPRESSION)?;
        // A preview in front, the picture in a sub-directory; Sony writes no subfile type.
        let camera = self.entry(directory, MAKE)?;
        let Some(camera) = camera.filter(|_| preview || compression == Some(6) || compression == Some(32_767)) else {
            return Ok(None);
        };
        if self.entry(directory, SUB_DIRECTORIES)?.is_none() {
            return Ok(None);
        }
        let name = self.bytes::<4>(self.long(camera + 8)?).unwrap_or_default().to_ascii_uppercase();
        Ok(Some(match name.as_slice() {
            b"NIKO" => "Nikon raw (NEF)",
            b"SONY" => "Sony raw (ARW)",
            b"PENT" => "Pentax raw (PEF)",
            _ => "camera raw",
        }))
    }
}
