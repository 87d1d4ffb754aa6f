//! CSV bytes -> records: RFC 4180 and what spreadsheets make of it, in memory of one record.
//!
//! Cells end at the delimiter, records at LF, CRLF or a lone CR; inside of quotes neither counts and
//! a quote is written twice. Beyond the RFC, spaces before an opening and after a closing quote are
//! skipped. The `csv` crate reads the same from well-formed files (a property test compares them),
//! but says neither that a quote was never closed nor that text follows one, has no bound on a record,
//! and looks at every byte, where this reader jumps from one special byte to the next.

use std::io::Read;

use memchr::memchr3;

use super::cells::CellBuffer;

/// A record as it stands in the file.
#[derive(Debug, Default)]
pub struct Record {
    /// Its cells, without their quotes.
    pub cells: CellBuffer,
    /// The line that it begins in, counted from 1.
    pub line: u64,
    /// What is wrong with its quotes, and in which cell.
    pub flaw: Option<(Flaw, usize)>,
}

/// What can be wrong with quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// The file ends inside of a quoted cell.
    UnclosedQuote,
    /// Text follows the closing quote.
    StrayQuote,
}

/// What [`RecordReader::read`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// The next record.
    Record,
    /// The end of the file.
    End,
    /// A record that is larger than the limit; nothing behind it can be read.
    TooLarge,
}

/// Reads records.
#[derive(Debug)]
pub struct RecordReader<R> {
    input: R,
    delimiter: u8,
    max_record_bytes: usize,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    ended: bool,
    line: u64,
}

/// Bytes that are read at once.
const BUFFER: usize = 128 * 1024;

impl<R: Read> RecordReader<R> {
    /// Returns a reader of records whose cells have at most that many bytes.
    pub fn new(input: R, max_record_bytes: usize) -> Self {
        let buffer = vec![0; BUFFER];
        Self { input, delimiter: b',', max_record_bytes, buffer, start: 0, end: 0, ended: false, line: 1 }
    }

    /// Returns the bytes that come next: all of a small file, the first buffer of a larger one.
    pub fn peek(&mut self) -> std::io::Result<&[u8]> {
        if self.start == self.end {
            self.fill()?;
        }
        Ok(&self.buffer[self.start..self.end])
    }

    /// Skips bytes that [`Self::peek`] has shown.
    pub fn skip(&mut self, bytes: usize) {
        self.start = (self.start + bytes).min(self.end);
    }

    /// Sets the byte between cells; a comma unless it is set.
    pub fn set_delimiter(&mut self, delimiter: u8) {
        self.delimiter = delimiter;
    }

    /// Returns the line that the next record begins in.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Reads the next record. A blank line is a record of one empty cell.
    pub fn read(&mut self, record: &mut Record) -> std::io::Result<Found> {
        loop {
            let bytes = &self.buffer[self.start..self.end];
            if bytes.is_empty() && self.ended {
                return Ok(Found::End);
            }
            record.line = self.line;
            if let Some(Scanned { bytes, lines }) = scan(bytes, self.ended, self.delimiter, record) {
                if bytes > self.max_raw() || record.cells.bytes() > self.max_record_bytes {
                    return Ok(Found::TooLarge);
                }
                self.start += bytes;
                self.line += lines;
                return Ok(Found::Record);
            }
            if bytes.len() > self.max_raw() {
                return Ok(Found::TooLarge);
            }
            self.fill()?;
        }
    }

    /// What a record of cells within the limit may have with its quotes and delimiters.
    fn max_raw(&self) -> usize {
        2 * self.max_record_bytes + 1_024
    }

    /// Moves what is left to the front and reads until the buffer is full or the input ends. The
    /// buffer grows with its record, twofold, so that a record is not scanned again for every read.
    fn fill(&mut self) -> std::io::Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.end == self.buffer.len() {
            self.buffer.resize(self.end * 2, 0);
        }
        while self.end < self.buffer.len() && !self.ended {
            match self.input.read(&mut self.buffer[self.end..]) {
                Ok(0) => self.ended = true,
                Ok(read) => self.end += read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// How far a record reaches.
struct Scanned {
    bytes: usize,
    lines: u64,
}

/// Reads the first record of the bytes, or returns `None` when it may go on behind them.
fn scan(bytes: &[u8], ended: bool, delimiter: u8, record: &mut Record) -> Option<Scanned> {
    record.cells.clear();
    record.flaw = None;
    let mut lines = 1;
    let mut at = 0;
    loop {
        let quote = opening_quote(&bytes[at..]);
        if let Some(quote) = quote {
            at = quoted_cell(bytes, at + quote + 1, ended, record, &mut lines)?;
        }
        // What is left of the cell: all of it, or what stands behind its closing quote.
        let ends = |&byte: &u8| byte == delimiter || byte == b'\n' || byte == b'\r';
        let length = match bytes.get(at) {
            Some(next) if ends(next) => 0,
            _ => match memchr3(delimiter, b'\n', b'\r', &bytes[at..]) {
                Some(length) => length,
                None if ended => bytes.len() - at,
                None => return None,
            },
        };
        let rest = &bytes[at..at + length];
        if quote.is_none() {
            record.cells.extend(rest);
        } else if !rest.trim_ascii().is_empty() {
            record.flaw = record.flaw.or(Some((Flaw::StrayQuote, record.cells.len())));
            record.cells.extend(rest);
        }
        record.cells.end();
        at += length;
        match bytes.get(at) {
            Some(b'\n') => return Some(Scanned { bytes: at + 1, lines }),
            Some(b'\r') => match bytes.get(at + 1) {
                Some(b'\n') => return Some(Scanned { bytes: at + 2, lines }),
                // The line feed of this line end may be in the next buffer.
                None if !ended => return None,
                _ => return Some(Scanned { bytes: at + 1, lines }),
            },
            Some(_) => at += 1,
            None => return Some(Scanned { bytes: at, lines }),
        }
    }
}

/// Returns where a cell's opening quote is: at its start, or behind spaces.
fn opening_quote(bytes: &[u8]) -> Option<usize> {
    match bytes.first()? {
        b'"' => Some(0),
        b' ' => bytes.iter().position(|&byte| byte != b' ').filter(|&index| bytes[index] == b'"'),
        _ => None,
    }
}

/// Reads a quoted cell from behind its opening quote to behind its closing one.
fn quoted_cell(bytes: &[u8], mut at: usize, ended: bool, record: &mut Record, lines: &mut u64) -> Option<usize> {
    loop {
        let Some(length) = memchr3(b'"', b'\n', b'\r', &bytes[at..]) else {
            if !ended {
                return None;
            }
            record.flaw = Some((Flaw::UnclosedQuote, record.cells.len()));
            record.cells.extend(&bytes[at..]);
            return Some(bytes.len());
        };
        let end = at + length;
        let next = bytes.get(end + 1);
        // What the byte means may stand in the next buffer.
        if next.is_none() && !ended {
            return None;
        }
        let kept = match (bytes[end], next) {
            (b'"', Some(b'"')) => {
                record.cells.extend(&bytes[at..=end]);
                at = end + 2;
                continue;
            }
            (b'"', _) => {
                record.cells.extend(&bytes[at..end]);
                return Some(end + 1);
            }
            (b'\r', Some(b'\n')) => end + 2,
            _ => end + 1,
        };
        *lines += 1;
        record.cells.extend(&bytes[at..kept]);
        at = kept;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Read = (Vec<String>, u64, Option<(Flaw, usize)>);

    /// Reads a file whose bytes come in pieces of that length.
    fn read(file: &[u8], piece: usize) -> Vec<Read> {
        struct Pieces<'a>(&'a [u8], usize);
        impl std::io::Read for Pieces<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
                let length = self.1.min(buffer.len());
                std::io::Read::read(&mut self.0, &mut buffer[..length])
            }
        }
        let mut reader = RecordReader::new(Pieces(file, piece), 1_000);
        let mut record = Record::default();
        let mut records = Vec::new();
        while reader.read(&mut record).expect("a slice can be read") == Found::Record {
            let cells = record.cells.iter().map(|cell| String::from_utf8_lossy(cell).into_owned()).collect();
            records.push((cells, record.line, record.flaw));
        }
        records
    }

    #[test]
    fn records_are_read_as_spreadsheets_write_them() {
        /// A file, and the cells and the line of each of its records.
        type Case = (&'static str, &'static [(&'static [&'static str], u64)]);
        let cases: [Case; 9] = [
            ("a,b\n1,2\n", &[(&["a", "b"], 1), (&["1", "2"], 2)]),
            ("a,b\r\n1,2", &[(&["a", "b"], 1), (&["1", "2"], 2)]),
            ("a,b\r1,2\r", &[(&["a", "b"], 1), (&["1", "2"], 2)]),
            ("a,,\n,", &[(&["a", "", ""], 1), (&["", ""], 2)]),
            ("\n\r\n\na", &[(&[""], 1), (&[""], 2), (&[""], 3), (&["a"], 4)]),
            ("\"a\"\"b\",\"\",\"c,d\"", &[(&["a\"b", "", "c,d"], 1)]),
            ("\"a\r\nb\rc\nd\"\n2", &[(&["a\r\nb\rc\nd"], 1), (&["2"], 5)]),
            ("1, \"a, b\" ,  c", &[(&["1", "a, b", "  c"], 1)]),
            ("5\" pipe,6\"", &[(&["5\" pipe", "6\""], 1)]),
        ];
        for (file, expected) in cases {
            let expected: Vec<Read> = expected
                .iter()
                .map(|(cells, line)| (cells.iter().map(|it| (*it).to_owned()).collect(), *line, None))
                .collect();
            for piece in [1, 2, 1_000] {
                assert_eq!(read(file.as_bytes(), piece), expected, "{file:?} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn flaws_of_quotes_are_named_with_their_cell() {
        let flaw = |file: &str| read(file.as_bytes(), 3).pop().expect("a record").2;
        assert_eq!(flaw("1,\"27\" monitor\",2"), Some((Flaw::StrayQuote, 1)));
        assert_eq!(flaw("1,2,\"never closed\n3,4"), Some((Flaw::UnclosedQuote, 2)));
        assert_eq!(flaw("1,\"closed\""), None);
    }

    #[test]
    fn a_record_has_a_bound() {
        let mut record = Record::default();
        for (length, expected) in [(1_000, Found::Record), (1_001, Found::TooLarge), (1_000_000, Found::TooLarge)] {
            let file = format!("{}\n1", "x".repeat(length));
            let mut reader = RecordReader::new(file.as_bytes(), 1_000);
            assert_eq!(reader.read(&mut record).expect("a slice can be read"), expected, "{length}");
        }
        // An unclosed quote at the start of a large file reads no more than the limit and one buffer.
        let file = format!("\"{}", "x\n".repeat(10_000_000));
        let mut rest = file.as_bytes();
        let mut reader = RecordReader::new(&mut rest, 100_000);
        assert_eq!(reader.read(&mut record).expect("a slice can be read"), Found::TooLarge);
        assert!(file.len() - rest.len() <= 600_000);
    }

    proptest! {
        #[test]
        fn what_the_csv_crate_writes_is_read_as_it_reads_it(
            records in prop::collection::vec(prop::collection::vec("[a,;\"\r\n ü'=]{0,6}", 2..5), 1..6),
            always in any::<bool>(),
            piece in 1_usize..20,
        ) {
            let style = if always { csv::QuoteStyle::Always } else { csv::QuoteStyle::Necessary };
            let mut writer = csv::WriterBuilder::new().flexible(true).quote_style(style).from_writer(Vec::new());
            for record in &records {
                writer.write_record(record).expect("a Vec grows");
            }
            let file = writer.into_inner().expect("a Vec grows");
            let found = read(&file, piece);
            prop_assert!(found.iter().all(|(_, _, flaw)| flaw.is_none()));
            let found: Vec<Vec<String>> = found.into_iter().map(|(cells, ..)| cells).collect();
            let mut reader = csv::ReaderBuilder::new().flexible(true).has_headers(false).from_reader(&file[..]);
            let theirs = reader.records().map(|it| it.expect("text").iter().map(str::to_owned).collect::<Vec<_>>());
            prop_assert_eq!(&found, &theirs.collect::<Vec<_>>());
            prop_assert_eq!(found, records);
        }
    }
}
