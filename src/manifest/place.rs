//! Where in a file its problems stand: the lines of a row, and the bytes of it that are meant.
//!
//! The validator says of each problem the line that its row begins in and the column's name. Who shows problems
//! to people looks the rest up in a second pass over the file, so that nothing of it is kept in the first.

use std::io::{BufRead, BufReader, Cursor, Read};
use std::ops::Range;

use super::header::{Preamble, read_preamble};
use super::problem::Problem;
use super::text;

/// What of a source a problem is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The line that the row begins in, counted from 1.
    pub line: u64,
    /// The row's lines as they stand in the file, the first of them. What would change a terminal is replaced.
    pub text: String,
    /// The bytes of the text that are meant; empty where something is missing.
    pub span: Range<usize>,
}

/// Lines of a row that are kept.
const MAX_LINES: usize = 8;
/// Bytes of a row that are kept.
const MAX_BYTES: usize = 64 * 1024;
/// Bytes that the delimiter is told from.
const HEAD: u64 = 128 * 1024;
/// What stands behind a value that was cut.
const CUT: char = '…';

/// Returns the place of each problem, in their order; none of those that are about the file as a whole. `names`
/// are those of the header's columns, and the problems are in the file's order, as the validator lists them.
pub fn find_places(bytes: impl Read, names: &[String], problems: &[Problem]) -> std::io::Result<Vec<Option<Place>>> {
    let mut places = vec![None; problems.len()];
    let Ok(mut text) = text::open(bytes)? else { return Ok(places) };
    let mut head = Vec::new();
    text.by_ref().take(HEAD).read_to_end(&mut head)?;
    let Preamble { delimiter, .. } = read_preamble(&head);
    let mut lines = Lines { bytes: BufReader::new(Cursor::new(head).chain(text)), next: 1 };
    let mut wanted: Vec<usize> = (0..problems.len()).filter(|&index| is_in_a_line(&problems[index])).collect();
    wanted.sort_by_key(|&index| problems[index].line);
    let mut row: Option<(u64, String)> = None;
    for index in wanted {
        let problem = &problems[index];
        let line = problem.line.unwrap_or(1);
        if row.as_ref().is_none_or(|(known, _)| *known != line) {
            row = lines.row_at(line, char::from(delimiter))?.map(|text| (line, text));
        }
        let Some((_, text)) = &row else { continue };
        // A column that the header lacks has no cell in it.
        let column = problem.column.as_ref().filter(|_| problem.row.is_some());
        let column = column.and_then(|name| names.iter().position(|it| it == name));
        let span = find_span(text, char::from(delimiter), column, problem.value.as_deref());
        places[index] = Some(Place { line, text: text.clone(), span });
    }
    Ok(places)
}

/// Returns a text without what a terminal would act upon: control characters, and those that turn the direction
/// of writing. Each becomes one other character; tabs stay.
#[must_use]
pub fn without_controls(text: &str) -> String {
    let turns = |it: char| matches!(it, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{61c}');
    let replace = |it: char| if (it.is_control() && it != '\t') || turns(it) { '\u{fffd}' } else { it };
    text.chars().map(replace).collect()
}

/// Problems of a file that is no CSV have line 1 too, and nothing to show there.
fn is_in_a_line(problem: &Problem) -> bool {
    use super::problem::Code::{DuplicateColumn, MissingColumn, NotUtf8, RecordTooLarge, TooManyRows, UnclosedQuote};
    let of_header = [DuplicateColumn, MissingColumn, NotUtf8, RecordTooLarge, TooManyRows, UnclosedQuote];
    problem.line.is_some() && (problem.row.is_some() || of_header.contains(&problem.code))
}

/// The lines of a file, which end as those of records do.
struct Lines<R> {
    bytes: R,
    next: u64,
}

impl<R: BufRead> Lines<R> {
    /// Returns the row that begins in a line which is not read yet: that line, and those behind it while a quote
    /// is open.
    fn row_at(&mut self, line: u64, delimiter: char) -> std::io::Result<Option<String>> {
        let mut bytes = Vec::new();
        while self.next < line {
            if !self.read(&mut bytes, 0)? {
                return Ok(None);
            }
        }
        if self.next > line {
            return Ok(None);
        }
        let mut text = String::new();
        for read in 0..MAX_LINES {
            bytes.clear();
            if !self.read(&mut bytes, MAX_BYTES - text.len().min(MAX_BYTES))? {
                break;
            }
            if read > 0 {
                text.push('\n');
            }
            text += &without_controls(&String::from_utf8_lossy(&bytes));
            if !find_cells(&text, delimiter).1 {
                break;
            }
        }
        Ok(Some(text))
    }

    /// Reads a line without its end; keeps of it what there is room for. Returns whether there was one.
    fn read(&mut self, line: &mut Vec<u8>, room: usize) -> std::io::Result<bool> {
        let mut found = false;
        loop {
            let available = self.bytes.fill_buf()?;
            if available.is_empty() {
                self.next += u64::from(found);
                return Ok(found);
            }
            found = true;
            let end = memchr::memchr2(b'\n', b'\r', available);
            let piece = &available[..end.unwrap_or(available.len())];
            line.extend_from_slice(&piece[..piece.len().min(room.saturating_sub(line.len()))]);
            let Some(end) = end else {
                let read = available.len();
                self.bytes.consume(read);
                continue;
            };
            let is_return = available[end] == b'\r';
            self.bytes.consume(end + 1);
            if is_return && self.bytes.fill_buf()?.first() == Some(&b'\n') {
                self.bytes.consume(1);
            }
            self.next += 1;
            return Ok(true);
        }
    }
}

/// Returns what of a row is meant by the index of a column and a value in it.
fn find_span(text: &str, delimiter: char, column: Option<usize>, value: Option<&str>) -> Range<usize> {
    let Some(column) = column else { return 0..text.find('\n').unwrap_or(text.len()) };
    // Of a cell that the row has not, the place where it would be.
    let cell = find_cells(text, delimiter).0.get(column).cloned().unwrap_or(text.len()..text.len());
    let inside = &text[cell.clone()];
    let value = value.map(|it| without_controls(it.strip_suffix(CUT).unwrap_or(it)));
    let value = value.filter(|it| !it.is_empty()).unwrap_or_else(|| inside.trim().to_owned());
    match inside.find(&value) {
        Some(start) => cell.start + start..cell.start + start + value.len(),
        None => cell,
    }
}

/// Returns the cells of a row, their quotes not included, and whether the last one's quote is still open.
fn find_cells(text: &str, delimiter: char) -> (Vec<Range<usize>>, bool) {
    let (mut cells, mut start, mut end, mut quoted) = (Vec::new(), 0, None, false);
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        if quoted {
            if character == '"' && characters.next_if(|(_, next)| *next == '"').is_none() {
                (quoted, end) = (false, Some(at));
            }
        } else if character == delimiter {
            cells.push(start..end.take().unwrap_or(at));
            start = at + character.len_utf8();
        } else if character == '"' && end.is_none() && text[start..at].trim_matches(' ').is_empty() {
            (quoted, start) = (true, at + 1);
        }
    }
    cells.push(start..end.unwrap_or(text.len()));
    (cells, quoted)
}

#[cfg(test)]
mod tests {
    use super::super::source::{Rules, read_csv};
    use super::*;

    /// Returns what of the source each of its problems means, as `line:text`.
    fn meant(csv: &[u8]) -> Vec<String> {
        let summary = read_csv(csv, &Rules::default(), |_| Ok(())).expect("it can be read");
        let places = find_places(csv, &summary.columns.names, &summary.problems.listed).expect("it can be read");
        let shown =
            places.into_iter().map(|it| it.map_or_else(String::new, |it| format!("{}:{}", it.line, &it.text[it.span])));
        shown.collect()
    }

    #[test]
    fn the_value_is_found_in_its_cell() {
        let csv = "S. No.;Name;Image Urls\r\n1;Bowl;\"x/1.jpg,https://b/2.jpg\"\r\n2;;https://a/3.jpg\r\n\r\n3;\"a\nb;\";x.jpg\n4;Cup\n";
        assert_eq!(meant(csv.as_bytes()), ["2:x/1.jpg", "3:", "5:x.jpg", "7:4;Cup"]);
    }

    #[test]
    fn headers_utf_16_and_other_files_have_their_places() {
        assert_eq!(meant(b"No,Name\n1,2\n"), ["1:No,Name"]);
        assert_eq!(meant(b"PK\x03\x04..."), [""]);
        let utf16: Vec<u8> =
            "\u{feff}No\tName\tUrl\n1\tB\u{fc}gel\tb\u{e4}d.jpg\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(meant(&utf16), ["2:b\u{e4}d.jpg"]);
        assert_eq!(meant(b"No,Name,Url\n1,Cup,\"ftp://a\n"), ["2:1,Cup,\"ftp://a"]);
        // A quote inside of a cell opens nothing.
        assert_eq!(meant(b"No,Name,Url\n1,5\" pipe,x.jpg\n2,Cup,y.jpg\n"), ["2:x.jpg", "3:y.jpg"]);
    }

    #[test]
    fn nothing_reaches_a_terminal_that_it_acts_upon() {
        assert_eq!(meant(b"No,Name,Url\n1,Cup,\x1b[2Jx\n"), ["2:\u{fffd}[2Jx"]);
        assert_eq!(without_controls("a\u{9b}b\u{202e}c\td"), "a\u{fffd}b\u{fffd}c\td");
    }
}
