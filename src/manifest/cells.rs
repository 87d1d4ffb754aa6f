//! Lists of strings in one buffer: the cells of a record, the URLs of a row.
//!
//! A million rows pass through two of these buffers; nothing is allocated for a cell.

use super::bytes::any_pair;

/// A list of byte strings that is filled and emptied again and again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CellBuffer {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl CellBuffer {
    /// Removes all cells and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// Appends bytes to the cell that is not ended yet.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Ends the cell.
    pub fn end(&mut self) {
        self.ends.push(self.bytes.len());
    }

    /// Appends a whole cell.
    pub fn push(&mut self, cell: &[u8]) {
        self.extend(cell);
        self.end();
    }

    /// Returns how many cells there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Returns how many bytes the cells have together.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Returns a cell's bytes.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        let end = *self.ends.get(index)?;
        self.bytes.get(start(&self.ends, index)..end)
    }

    /// Returns the cells' bytes in order.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        (0..self.len()).map(|index| self.get(index).unwrap_or_default())
    }

    /// Returns whether every cell is empty or blank.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.bytes.trim_ascii().is_empty()
    }

    /// Keeps the first cells and drops the others.
    pub fn truncate(&mut self, len: usize) {
        self.ends.truncate(len);
        self.bytes.truncate(self.ends.last().copied().unwrap_or_default());
    }

    /// Adds empty cells up to that many.
    pub fn pad(&mut self, len: usize) {
        let end = self.bytes.len();
        self.ends.resize(self.ends.len().max(len), end);
    }

    /// Joins the cells from `first` on into one.
    pub fn join(&mut self, first: usize, separator: u8) {
        let joined = self.iter().skip(first).collect::<Vec<_>>().join(&separator);
        self.truncate(first);
        self.extend(&joined);
        self.end();
    }

    /// Moves the cells into a buffer of text, whose memory comes back in exchange; or returns the index
    /// of the first cell that is not UTF-8, and moves nothing.
    pub fn move_to(&mut self, buffer: &mut TextBuffer) -> Result<(), usize> {
        let reused = std::mem::take(&mut buffer.text).into_bytes();
        // One check of the whole buffer; two halves of a character may not meet from two cells.
        match String::from_utf8(std::mem::replace(&mut self.bytes, reused)) {
            Ok(text) if self.ends.iter().all(|&end| text.is_char_boundary(end)) => {
                buffer.text = text;
                std::mem::swap(&mut self.ends, &mut buffer.ends);
                return Ok(());
            }
            Ok(text) => self.bytes = text.into_bytes(),
            Err(error) => self.bytes = error.into_bytes(),
        }
        Err(self.iter().position(|cell| std::str::from_utf8(cell).is_err()).unwrap_or_default())
    }

    /// Moves the cells into a buffer of text, with replacement characters for what is not UTF-8.
    pub fn move_to_lossy(&mut self, buffer: &mut TextBuffer) {
        buffer.clear();
        self.iter().for_each(|cell| buffer.push(&String::from_utf8_lossy(cell)));
    }
}

/// A list of strings that is filled and emptied again and again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TextBuffer {
    text: String,
    ends: Vec<usize>,
}

impl TextBuffer {
    /// Removes all strings and keeps the memory.
    pub fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }

    /// Appends a string.
    pub fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.ends.push(self.text.len());
    }

    /// Returns the strings.
    #[must_use]
    pub fn cells(&self) -> Cells<'_> {
        Cells { text: &self.text, ends: &self.ends }
    }
}

/// The strings of one of the buffers above.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cells<'a> {
    text: &'a str,
    ends: &'a [usize],
}

impl<'a> Cells<'a> {
    /// Returns how many cells there are.
    #[must_use]
    pub fn len(self) -> usize {
        self.ends.len()
    }

    /// Returns whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.ends.is_empty()
    }

    /// Returns how many bytes the cells have together.
    #[must_use]
    pub fn bytes(self) -> usize {
        self.text.len()
    }

    /// Returns where each cell ends in the cells' bytes.
    pub(super) fn ends(self) -> impl ExactSizeIterator<Item = usize> {
        self.ends.iter().copied()
    }

    /// Returns a cell; one that the record does not have is empty.
    #[must_use]
    pub fn get(self, index: usize) -> &'a str {
        let end = self.ends.get(index).copied().unwrap_or_default();
        self.text.get(start(self.ends, index)..end).unwrap_or_default()
    }

    /// Returns the cells in order.
    #[must_use]
    pub fn iter(self) -> impl ExactSizeIterator<Item = &'a str> {
        (0..self.len()).map(move |index| self.get(index))
    }

    /// Returns whether a byte of any cell passes the test; see [`any_pair`].
    pub(super) fn any_byte(self, test: impl Fn(u8) -> bool) -> bool {
        any_pair(self.text.as_bytes(), |byte, _| test(byte)) || self.text.bytes().last().is_some_and(test)
    }

    /// Returns the cells' bytes in order.
    pub(super) fn bytes_of_each(self) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = self.text.as_bytes();
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let (cell, behind) = rest.split_at(end - start);
            (rest, start) = (behind, end);
            cell
        })
    }

    /// Returns the cells as strings of their own.
    #[must_use]
    pub fn to_vec(self) -> Vec<String> {
        self.iter().map(str::to_owned).collect()
    }
}

fn start(ends: &[usize], index: usize) -> usize {
    index.checked_sub(1).and_then(|before| ends.get(before)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(cells: &[&[u8]]) -> CellBuffer {
        let mut buffer = CellBuffer::default();
        for cell in cells {
            buffer.extend(cell);
            buffer.end();
        }
        buffer
    }

    #[test]
    fn half_a_character_in_each_of_two_cells_is_not_text() {
        let umlaut = "ü".as_bytes();
        let mut text = TextBuffer::default();
        let mut halves = of(&[b"a", &umlaut[..1], &umlaut[1..]]);
        assert_eq!(halves.move_to(&mut text), Err(1));
        assert_eq!(halves.len(), 3);
        assert_eq!(of(&[b"a", umlaut]).move_to(&mut text), Ok(()));
        assert_eq!(text.cells().to_vec(), ["a", "ü"]);
        halves.move_to_lossy(&mut text);
        assert_eq!(text.cells().to_vec(), ["a", "\u{fffd}", "\u{fffd}"]);
    }

    #[test]
    fn cells_are_padded_cut_and_joined() {
        let mut cells = of(&[b"1", b"Chair", b"https://a/1.jpg", b"https://a/2.jpg"]);
        cells.join(2, b',');
        assert_eq!(cells.iter().collect::<Vec<_>>(), [&b"1"[..], b"Chair", b"https://a/1.jpg,https://a/2.jpg"]);
        cells.truncate(1);
        cells.pad(3);
        assert_eq!(cells.iter().collect::<Vec<_>>(), [&b"1"[..], b"", b""]);
    }
}
