//! Boxes of the ISO base media file format (ISO/IEC 14496-12), and the numbers in them.

use crate::Error;

/// Name of a box or of a property.
pub(super) type Name = [u8; 4];

/// Walks the boxes in `bytes`, each as name and content. One that is longer than what is there
/// means that the file was cut off.
#[derive(Debug)]
pub(super) struct Boxes<'a>(pub(super) &'a [u8]);

impl<'a> Boxes<'a> {
    fn take(&mut self) -> Result<(Name, &'a [u8]), Error> {
        let mut reader = Reader(self.0);
        let short = u64::from(reader.number(4).map_err(|_| cut())?);
        let name = *reader.array().map_err(|_| cut())?;
        let length = match short {
            // To the end of the file.
            0 => self.0.len() as u64,
            1 => reader.long().map_err(|_| cut())?,
            short => short,
        };
        let header = self.0.len() - reader.0.len();
        let length = usize::try_from(length).map_err(|_| cut())?;
        let content = length.checked_sub(header).ok_or_else(|| Error::corrupt("a box is shorter than its header"))?;
        let (content, rest) = reader.0.split_at_checked(content).ok_or_else(cut)?;
        self.0 = rest;
        Ok((name, content))
    }
}

impl<'a> Iterator for Boxes<'a> {
    type Item = Result<(Name, &'a [u8]), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let taken = self.take();
        if taken.is_err() {
            self.0 = &[];
        }
        Some(taken)
    }
}

/// Reads the fields of a box, one behind the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], Error> {
        let (taken, rest) = self.0.split_first_chunk().ok_or_else(short)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or_else(short)?;
        self.0 = rest;
        Ok(taken)
    }

    /// Reads a number of at most four bytes.
    pub(super) fn number(&mut self, bytes: usize) -> Result<u32, Error> {
        Ok(self.bytes(bytes)?.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }

    /// Reads a number of so many bytes: none, four or eight.
    pub(super) fn sized(&mut self, bytes: u8) -> Result<u64, Error> {
        match bytes {
            0 => Ok(0),
            4 => self.number(4).map(u64::from),
            8 => self.long(),
            _ => Err(Error::corrupt("a box of the AVIF has numbers of a strange size")),
        }
    }

    fn long(&mut self) -> Result<u64, Error> {
        Ok(u64::from_be_bytes(*self.array()?))
    }

    /// Reads version and flags, which many boxes begin with.
    pub(super) fn version(&mut self) -> Result<(u8, u32), Error> {
        let [version, flags @ ..] = *self.array::<4>()?;
        Ok((version, flags.iter().fold(0, |flags, byte| flags << 8 | u32::from(*byte))))
    }
}

/// Puts a box around its content.
pub(super) fn boxed(name: Name, content: &[u8]) -> Vec<u8> {
    let mut bytes = (content.len() as u32 + 8).to_be_bytes().to_vec();
    bytes.extend(name);
    bytes.extend(content);
    bytes
}

pub(super) fn cut() -> Error {
    Error::truncated("the AVIF ends within a box")
}

fn short() -> Error {
    Error::corrupt("a box of the AVIF is shorter than its fields")
}
