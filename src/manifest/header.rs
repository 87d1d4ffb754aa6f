//! The header: which byte separates cells, and which column means what.

use super::cells::TextBuffer;
use super::problem::{Code, Problem, Problems, shorten};
use super::record::Record;
use super::row::{Columns, REQUIRED, Required, normalize_name};

/// What a file says of itself before its records.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Preamble {
    /// The byte between cells.
    pub(super) delimiter: u8,
    /// Whether the first line only names it, as Excel's `sep=;` does.
    pub(super) has_own_line: bool,
}

/// Delimiters, the first of those that the header has most of is the file's.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// Returns the file's delimiter: the one that it names, or the one its first line has most of.
pub(super) fn read_preamble(first: &[u8]) -> Preamble {
    let line = first_line(first);
    if let [s, e, p, b'=', delimiter] = *line
        && [s, e, p].eq_ignore_ascii_case(b"sep")
    {
        return Preamble { delimiter, has_own_line: true };
    }
    let mut counts = [0; DELIMITERS.len()];
    let mut quoted = false;
    for byte in line {
        quoted ^= *byte == b'"';
        if let Some(index) = DELIMITERS.iter().position(|it| it == byte).filter(|_| !quoted) {
            counts[index] += 1;
        }
    }
    let most = counts.iter().max().copied().unwrap_or_default();
    let index = counts.iter().position(|&count| count == most).unwrap_or_default();
    Preamble { delimiter: DELIMITERS[index], has_own_line: false }
}

/// Returns the first line with something in it. A line end inside of quotes does not end it.
fn first_line(bytes: &[u8]) -> &[u8] {
    let start = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or_default();
    let mut quoted = false;
    let end = bytes[start..].iter().position(|&byte| {
        quoted ^= byte == b'"';
        !quoted && matches!(byte, b'\r' | b'\n')
    });
    &bytes[start..end.map_or(bytes.len(), |end| start + end)]
}

/// Reads the header's record.
pub(super) fn read_header(record: &mut Record) -> Result<Columns, Problems> {
    let line = record.line;
    let mut problems = Problems::default();
    let mut note = |column: Option<&str>, code: Code, message: &str, hint: &str| {
        let (line, column) = (Some(line), column.map(str::to_owned));
        problems.push(Problem { line, column, ..Problem::of_file(code, message, hint) });
    };
    let mut text = TextBuffer::default();
    if record.cells.move_to(&mut text).is_err() {
        note(None, Code::NotUtf8, "the header is not UTF-8", "save the sheet as CSV UTF-8");
        return Err(problems);
    }
    let mut names: Vec<String> = text.cells().iter().map(|cell| cell.trim().to_owned()).collect();
    // Trailing delimiters make no columns.
    let last_named = names.iter().rposition(|name| !name.is_empty()).map_or(0, |last| last + 1);
    names.truncate(last_named);
    let known: Vec<String> = names.iter().map(|name| normalize_name(name)).collect();
    let mut found = [0; REQUIRED.len()];
    for (place, required) in found.iter_mut().zip(&REQUIRED) {
        let standard = required.standard;
        match find(required, &known) {
            Ok(Some(index)) => *place = index,
            Ok(None) => {
                let message =
                    format!("the header has no column {standard:?}; it has {}", shorten(&names.join(", "), 200));
                let hint = "the first line must name the columns: S. No., Product Name, Input Image Urls";
                note(Some(standard), Code::MissingColumn, &message, hint);
            }
            Err((first, second)) => {
                let (first, second) = (shorten(&names[first], 60), shorten(&names[second], 60));
                let message = format!("the header has several columns for {standard:?}: {first:?} and {second:?}");
                note(Some(standard), Code::DuplicateColumn, &message, "keep one of them");
            }
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let [serial_number, name, image_urls] = found;
    Ok(Columns { names, serial_number, name, image_urls })
}

/// Returns the index of a required column, or two that contradict each other.
fn find(required: &Required, known: &[String]) -> Result<Option<usize>, (usize, usize)> {
    let having = |names: &[&str]| {
        let matching = known.iter().enumerate().filter(|(_, name)| names.contains(&name.as_str()));
        matching.map(|(index, _)| index).collect::<Vec<_>>()
    };
    match having(required.names)[..] {
        [] => {}
        [index] => return Ok(Some(index)),
        [first, second, ..] => return Err((first, second)),
    }
    for stand_in in required.stand_ins {
        match having(&[stand_in])[..] {
            [] => {}
            [index] => return Ok(Some(index)),
            [first, second, ..] => return Err((first, second)),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delimiter_is_the_headers() {
        for (first, delimiter, has_own_line) in [
            ("S. No.,Product Name,Urls\n", b',', false),
            ("\r\nS. No.;\"Name, short\";Urls", b';', false),
            ("\"a,\nb,\nc,\"\td\te\r1,2,3,4", b'\t', false),
            ("sep=;\r\na,b;c", b';', true),
            ("SEP=\t\na", b'\t', true),
            ("sep=,", b',', true),
            ("one column", b',', false),
        ] {
            assert_eq!(read_preamble(first.as_bytes()), Preamble { delimiter, has_own_line }, "{first:?}");
        }
    }

    #[test]
    fn columns_are_found_by_their_usual_names() {
        let columns = |header: &str| {
            let mut record = Record { line: 1, ..Record::default() };
            header.split(',').for_each(|cell| record.cells.push(cell.as_bytes()));
            read_header(&mut record)
                .map(|it| [it.serial_number, it.name, it.image_urls])
                .map_err(|it| it.listed[0].code)
        };
        for (header, expected) in [
            ("S. No.,Product Name,Input Image Urls", Ok([0, 1, 2])),
            (" input_image-urls ,s.no,PRODUCT NAME", Ok([1, 2, 0])),
            ("Serial Number,Name,Image URLs,,", Ok([0, 1, 2])),
            ("ID,Type,SKU,Name,Images", Ok([2, 3, 4])),
            ("Handle,Title,Image Src", Ok([0, 1, 2])),
            ("S. No.,ID,SKU,Name,Title,Url,Image Urls", Ok([0, 3, 6])),
            ("S. No.,Serial Number,Name,Urls", Err(Code::DuplicateColumn)),
            ("SKU,SKU,Name,Urls", Err(Code::DuplicateColumn)),
            ("S. No.,Name,Price", Err(Code::MissingColumn)),
        ] {
            assert_eq!(columns(header), expected, "{header}");
        }
    }
}
