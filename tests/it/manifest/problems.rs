//! Every problem is named with its place, its code and a way to mend it.

use imagebatch::manifest::problem::{Code, MAX_LISTED};
use imagebatch::manifest::source::Limits;

use super::{HEADER, Trickle, codes, read, read_within};

#[test]
fn files_that_are_no_csv_are_told_apart() {
    let utf16 = |text: &str, bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
    let files = [
        ("empty", vec![], Code::EmptyFile, "empty"),
        ("blank", b" \r\n\n\t".to_vec(), Code::EmptyFile, "empty"),
        ("BOM alone", b"\xef\xbb\xbf".to_vec(), Code::EmptyFile, "empty"),
        ("xlsx", b"PK\x03\x04\x14\0\x06\0[Content_Types].xml".to_vec(), Code::NotCsv, "spreadsheet"),
        ("xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0".to_vec(), Code::NotCsv, ".xls"),
        ("HTML", b"\n <!DOCTYPE html><html></html>".to_vec(), Code::NotCsv, "HTML"),
        ("HTML behind a BOM", "\u{feff}<html><body>".into(), Code::NotCsv, "HTML"),
        ("PDF", b"%PDF-1.7\n".to_vec(), Code::NotCsv, "PDF"),
        ("UTF-16 LE", [vec![0xff, 0xfe], utf16(HEADER, u16::to_le_bytes)].concat(), Code::NoRows, "no row"),
        ("UTF-16 BE", [vec![0xfe, 0xff], utf16(HEADER, u16::to_be_bytes)].concat(), Code::NoRows, "no row"),
        ("UTF-16 without BOM", utf16(HEADER, u16::to_le_bytes), Code::NotUtf8, "UTF-16"),
        ("header alone", HEADER.into(), Code::NoRows, "no row"),
        ("header and blank rows", format!("{HEADER}\n,,\n").into_bytes(), Code::NoRows, "no row"),
    ];
    for (name, bytes, code, part) in files {
        for step in [1, usize::MAX] {
            let (summary, rows) = read_within(Trickle { bytes: &bytes, step }, &Limits::default());
            let [problem] = &summary.problems.listed[..] else { panic!("{name}: {:?}", summary.problems) };
            assert_eq!((problem.code, problem.row, summary.rows), (code, None, 0), "{name}");
            assert!(problem.message.contains(part) && !problem.hint.is_empty(), "{name}: {problem:?}");
            assert!(rows.is_empty(), "{name}");
        }
    }
}

/// Code and column of each problem.
type Expected = &'static [(Code, &'static str)];

#[test]
fn header_is_judged_as_a_whole() {
    use Code::{DuplicateColumn, MissingColumn, NotUtf8};
    let headers: [(&[u8], Expected); 6] = [
        (b"a,b,c", &[(MissingColumn, "S. No."), (MissingColumn, "Product Name"), (MissingColumn, "Input Image Urls")]),
        (b"S. No.,Product Name", &[(MissingColumn, "Input Image Urls")]),
        (b"S. No.,Product Name,Name,Images", &[(DuplicateColumn, "Product Name")]),
        (b"S. No.,Serial,Name", &[(DuplicateColumn, "S. No."), (MissingColumn, "Input Image Urls")]),
        (
            b"1,Cup,https://a/1.jpg",
            &[(MissingColumn, "S. No."), (MissingColumn, "Product Name"), (MissingColumn, "Input Image Urls")],
        ),
        (b"S. No.,Product Name,Images,Gr\xf6\xdfe", &[(NotUtf8, "")]),
    ];
    for (header, expected) in headers {
        let bytes = [b"\n", header, b"\n1,Cup,https://a/1.jpg\n"].concat();
        let (summary, rows) = read(bytes);
        let problems = summary.problems.listed.iter();
        let found: Vec<_> = problems.map(|it| (it.code, it.column.as_deref().unwrap_or_default())).collect();
        assert_eq!(found, expected);
        assert!(summary.problems.listed.iter().all(|it| it.line == Some(2) && it.row.is_none()));
        assert!(rows.is_empty());
    }
}

#[test]
fn every_bad_row_is_named_with_its_place() {
    let long = format!("https://a/{}", "x".repeat(3_000));
    let rows = [
        "1,Cup,https://a/1.jpg".to_owned(),
        ",Cup,https://a/1.jpg".to_owned(),
        "3, ,https://a/1.jpg".to_owned(),
        "4,Cup,".to_owned(),
        String::new(),
        "5,Cup,not a url".to_owned(),
        "6,\"two\nlines\",https://a/1.jpg".to_owned(),
        "7,Cup,\"https://a/1.jpg,\nftp://b/2.jpg,https://user:pw@c/3.jpg\"".to_owned(),
        format!("8,Cup,{long}"),
        "9,Cup,https://a/1.jpg,extra".to_owned(),
        "10,Cup".to_owned(),
        " , , ,".to_owned(),
        ",\" \",".to_owned(),
    ];
    let expected = "\
        line 3, row 2, S. No.: MissingSerialNumber\n\
        line 4, row 3, Product Name: MissingProductName\n\
        line 5, row 4, Input Image Urls: MissingImageUrl\n\
        line 7, row 5, Input Image Urls: InvalidUrl not a url\n\
        line 10, row 7, Input Image Urls: InvalidUrl https://a/1.jpg,\nftp://b/2.jpg\n\
        line 10, row 7, Input Image Urls: InvalidUrl https://user:pw@c/3.jpg\n\
        line 12, row 8, Input Image Urls: UrlTooLong https://a/xxx\n\
        line 13, row 9, : CellCount\n\
        line 14, row 10, : CellCount\n";
    for end in ["\n", "\r\n", "\r"] {
        let file = format!("{HEADER}{}\n", rows.join("\n")).replace('\n', end);
        for step in [1, usize::MAX] {
            let (summary, good) = read_within(Trickle { bytes: file.as_bytes(), step }, &Limits::default());
            let problems = summary.problems.listed.iter().map(|it| {
                assert!(!it.message.is_empty() && !it.hint.is_empty(), "{it:?}");
                let (line, row) = (it.line.expect("a row has a line"), it.row.expect("it is a row's"));
                let value = it.value.as_deref().map_or(String::new(), |it| format!(" {}", shortened(it)));
                format!("line {line}, row {row}, {}: {:?}{value}\n", it.column.as_deref().unwrap_or_default(), it.code)
            });
            let problems: String = problems.collect();
            assert_eq!(problems.replace('\r', "\n").replace("\n\n", "\n"), expected, "{end:?}");
            assert_eq!(good.iter().map(|row| row.row).collect::<Vec<_>>(), [1, 6], "{end:?}");
            assert_eq!((summary.rows, summary.images), (10, 2), "{end:?}");
        }
    }
}

#[test]
fn cell_in_another_encoding_is_named() {
    let (summary, rows) = read([HEADER.as_bytes(), b"1,Sch\xfcssel,https://a/1.jpg\n2,Cup,https://a/2.jpg\n"].concat());
    let [problem] = &summary.problems.listed[..] else { panic!("{:?}", summary.problems) };
    assert_eq!((problem.code, problem.line, problem.row), (Code::NotUtf8, Some(2), Some(1)));
    assert_eq!((problem.column.as_deref(), problem.value.as_deref()), (Some("Product Name"), Some("Sch\u{fffd}ssel")));
    assert_eq!(rows.len(), 1);
}

#[test]
fn limits_are_held_to_the_row_the_url_and_the_byte() {
    let limits = Limits { max_rows: 3, max_urls: 2, max_url_length: 20, max_record_bytes: 60, ..Limits::default() };
    let row = |number: usize, url: &str| format!("{number},Cup,{url}\n");
    let three: String = (1..=3).map(|it| row(it, "https://a/1.jpg")).collect();
    // 60 bytes in all cells, and one more.
    let note = |length: usize| format!("1,{},https://a/1.jpg\n", "n".repeat(length - 16));
    let cases = [
        (three.clone(), vec![]),
        (format!("{three}{}", row(4, "https://a/1.jpg")), vec![(Code::TooManyRows, Some(5))]),
        (format!("{three}\n\n{}", row(4, "x")), vec![(Code::TooManyRows, Some(7))]),
        (row(1, "\"https://a/1.jpg,https://a/2.jpg\""), vec![]),
        (row(1, "https://a/1 https://a/2 https://a/3"), vec![(Code::TooManyUrls, Some(2))]),
        (row(1, "https://a/1234567890"), vec![]),
        (row(1, "https://a/12345678901"), vec![(Code::UrlTooLong, Some(2))]),
        // Longer only once it is encoded.
        (row(1, "https://a/12345678ä"), vec![(Code::UrlTooLong, Some(2))]),
        (note(60), vec![]),
        (note(61), vec![(Code::RecordTooLarge, Some(2))]),
        (
            format!("{}\n\n{}", row(1, "x"), note(61)),
            vec![(Code::InvalidUrl, Some(2)), (Code::RecordTooLarge, Some(5))],
        ),
    ];
    for (body, expected) in cases {
        for end in ["\n", "\r\n"] {
            let file = format!("{HEADER}{body}").replace('\n', end);
            let (summary, _) = read_within(file.as_bytes(), &limits);
            assert_eq!(codes(&summary), expected, "{body}");
        }
    }
}

#[test]
fn large_cells_are_named_but_for_that_of_the_urls() {
    let limits = Limits { max_cell_bytes: 20, ..Limits::default() };
    let file =
        format!("{HEADER}1,{},https://a/1.jpg\n2,{},https://a/1.jpg https://a/2.jpg\n", "n".repeat(21), "n".repeat(20));
    let (summary, rows) = read_within(file.as_bytes(), &limits);
    assert_eq!(codes(&summary), [(Code::CellTooLarge, Some(2))]);
    assert_eq!(rows.len(), 1);
}

#[test]
fn quote_that_is_never_closed_costs_bounded_memory() {
    struct Endless(u64);
    impl std::io::Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.0 += buffer.len() as u64;
            assert!(self.0 < 4 << 20, "it reads on and on");
            buffer.fill(b'x');
            Ok(buffer.len())
        }
    }
    for start in ["1,\"Cup", "1,Cup,https://a/", ",,,,,\n1,\"\"\""] {
        let head = format!("{HEADER}1,Cup,https://a/1.jpg\n{start}");
        let (summary, rows) = read_within(std::io::Read::chain(head.as_bytes(), Endless(0)), &Limits::default());
        let line = 3 + start.matches('\n').count() as u64;
        assert_eq!(codes(&summary).last(), Some(&(Code::RecordTooLarge, Some(line))), "{start:?}");
        assert_eq!(rows.len(), 1);
    }
}

#[test]
fn problems_beyond_the_list_are_counted() {
    let count = MAX_LISTED as u64 + 234;
    let body: Vec<String> = (0..count).map(|it| format!("{it},Cup,x\n")).collect();
    let (summary, _) = read(format!("{HEADER}{}", body.concat()));
    assert_eq!(summary.problems.listed.len(), MAX_LISTED);
    assert_eq!((summary.problems.total(), summary.problems.counts[&Code::InvalidUrl]), (count, count));
    assert_eq!(summary.problems.listed[MAX_LISTED - 1].line, Some(MAX_LISTED as u64 + 1));
}

#[test]
fn values_are_shortened_between_characters() {
    let (summary, _) = read(format!("{HEADER}1,Cup,{}\n", "ü".repeat(500)));
    let value = summary.problems.listed[0].value.as_deref().expect("the URL is shown");
    assert!(value.len() <= 203 && value.ends_with('…'), "{value}");
}

/// The start of a long value.
fn shortened(value: &str) -> &str {
    if value.len() > 40 { &value[..13] } else { value }
}
