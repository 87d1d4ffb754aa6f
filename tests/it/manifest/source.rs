//! What a CSV may look like, and what is read of it.

use imagebatch::api::source::Product;
use imagebatch::manifest::row::Columns;
use imagebatch::manifest::shard::{Sharder, read_lines};
use imagebatch::manifest::source::{Limits, Rules, read_csv, read_products};

use super::{HEADER, Trickle, read, read_within};

#[test]
fn one_table_in_many_dialects() {
    let plain = "S. No.,Product Name,Input Image Urls\n1,Cup,https://a/1.jpg\n2,Bowl,https://a/2.jpg\n";
    let dialects = [
        ("LF", plain.to_owned()),
        ("CRLF", plain.replace('\n', "\r\n")),
        ("lone CR", plain.replace('\n', "\r")),
        ("no end of the last line", plain.trim_end().to_owned()),
        ("semicolons", plain.replace(',', ";")),
        ("tabs", plain.replace(',', "\t")),
        ("BOM", format!("\u{feff}{plain}")),
        ("BOM and semicolons and CRLF", format!("\u{feff}{plain}").replace(',', ";").replace('\n', "\r\n")),
        ("all quoted", format!("\"{}\"\n", plain.trim_end().replace(',', "\",\"").replace('\n', "\"\n\""))),
        ("BOM and quotes", format!("\u{feff}\"S. No.\"{}", &plain[6..])),
        ("blank lines", format!("\n\n{}\n,,\n \n", plain.replace('\n', "\n\n"))),
    ];
    let (expected, rows) = read(plain);
    assert!(expected.problems.is_empty());
    assert_eq!((expected.rows, expected.images, rows.len()), (2, 2, 2));
    for (name, bytes) in dialects {
        for step in [1, 2, 3, 7, usize::MAX] {
            let input = Trickle { bytes: bytes.as_bytes(), step };
            let (summary, found) = read_within(input, &Limits::default());
            assert_eq!((&summary, &found), (&expected, &rows), "{name}, {step} bytes at a time");
        }
    }
}

#[test]
fn header_is_known_by_other_names_and_in_any_order() {
    let headers = [
        ("S. No.,Product Name,Input Image Urls", [0, 1, 2]),
        ("Serial Number,Product Name,Input Image Urls", [0, 1, 2]),
        ("sl. no,PRODUCT,image_urls", [0, 1, 2]),
        ("SR NO,Name,Images", [0, 1, 2]),
        (" serial , product-name , Input Image URL ", [0, 1, 2]),
        ("Images,Colour,Product Name,S.No.", [3, 2, 0]),
        ("urls,s_no,name,Price;EUR", [1, 2, 0]),
    ];
    for (header, [serial_number, name, image_urls]) in headers {
        let count = header.split(',').count();
        let mut cells = vec!["x"; count];
        (cells[serial_number], cells[name], cells[image_urls]) = ("7", "Cup", "https://a/1.jpg");
        let (summary, rows) = read(format!("{header}\n{}\n", cells.join(",")));
        assert!(summary.problems.is_empty(), "{header}: {:?}", summary.problems);
        let names = header.split(',').map(|it| it.trim().to_owned()).collect();
        assert_eq!(summary.columns, Columns { names, serial_number, name, image_urls }, "{header}");
        assert_eq!((rows[0].row, &rows[0].cells), (1, &cells.iter().map(|it| (*it).to_owned()).collect()), "{header}");
        assert_eq!(rows[0].urls, ["https://a/1.jpg"], "{header}");
    }
}

#[test]
fn cells_are_kept_to_the_character() {
    let (summary, rows) = read(concat!(
        "Note,S. No.,Product Name,Input Image Urls\r\n",
        "\"two\r\nlines\", 007 ,\"Cup \"\"Blue\"\", 3\"\" wide\",\"https://a/1.jpg,\nhttps://a/2.jpg\"\r\n",
        ",8,  Lámpara «Pájaro» 鳥 3\" wide ,https://a/3.jpg\r\n",
    ));
    assert!(summary.problems.is_empty(), "{:?}", summary.problems);
    let cells: Vec<Vec<&str>> = rows.iter().map(|row| row.cells.iter().map(String::as_str).collect()).collect();
    assert_eq!(cells[0], ["two\r\nlines", " 007 ", "Cup \"Blue\", 3\" wide", "https://a/1.jpg,\nhttps://a/2.jpg"]);
    assert_eq!(cells[1], ["", "8", "  Lámpara «Pájaro» 鳥 3\" wide ", "https://a/3.jpg"]);
    assert_eq!(rows[0].urls, ["https://a/1.jpg", "https://a/2.jpg"]);
}

#[test]
fn urls_are_split_where_the_next_begins() {
    let cells = [
        ("https://a/1.jpg,https://a/2.jpg", vec!["https://a/1.jpg", "https://a/2.jpg"]),
        ("https://a/1.jpg https://a/2.jpg", vec!["https://a/1.jpg", "https://a/2.jpg"]),
        (
            "https://a/1.jpg; http://b/2.jpg |HTTPS://c/3.jpg",
            vec!["https://a/1.jpg", "http://b/2.jpg", "https://c/3.jpg"],
        ),
        ("https://cdn/w_100,h_50/1.jpg,https://a/2.jpg", vec!["https://cdn/w_100,h_50/1.jpg", "https://a/2.jpg"]),
        ("https://a/?from=https://b/1.jpg", vec!["https://a/?from=https://b/1.jpg"]),
        (",https://a/1.jpg,,\nhttps://a/1.jpg,", vec!["https://a/1.jpg", "https://a/1.jpg"]),
        ("https://a/my picture.jpg#top", vec!["https://a/my%20picture.jpg"]),
        ("https://bücher.example/ä.jpg", vec!["https://xn--bcher-kva.example/%C3%A4.jpg"]),
    ];
    for (cell, expected) in cells {
        let (summary, rows) = read(format!("{HEADER}1,Cup,\"{cell}\"\n"));
        assert!(summary.problems.is_empty(), "{cell}: {:?}", summary.problems);
        assert_eq!(rows[0].urls, expected, "{cell}");
        assert_eq!(summary.images, expected.len() as u64, "{cell}");
    }
}

#[test]
fn inline_products_follow_the_same_rules() {
    let product = |serial_number: &str, name: &str, urls: &[&str]| Product {
        serial_number: serial_number.to_owned(),
        name: name.to_owned(),
        image_urls: urls.iter().map(|it| (*it).to_owned()).collect(),
    };
    let products = [
        product("1", "Cup", &["https://a/1.jpg", "https://a/2 x.jpg"]),
        product("2", " ", &["ftp://a/1.jpg"]),
        product("", "Bowl", &[]),
    ];
    let mut rows = Vec::new();
    let summary = read_products(&products, &Rules::default(), |row| {
        rows.push(row.to_row());
        Ok(())
    });
    let summary = summary.expect("nothing is read from outside");
    assert_eq!((summary.rows, summary.images, rows.len()), (3, 2, 1));
    assert_eq!(rows[0].urls, ["https://a/1.jpg", "https://a/2%20x.jpg"]);
    let problems: Vec<String> = summary.problems.listed.iter().map(|it| format!("{it} [{:?}]", it.code)).collect();
    assert_eq!(
        problems,
        [
            "row 2: the product name is empty [MissingProductName]",
            "row 2: the scheme is \"ftp\", not http or https [InvalidUrl]",
            "row 3: the serial number is empty [MissingSerialNumber]",
            "row 3: the row has no image URL [MissingImageUrl]",
        ]
    );
}

#[test]
fn rows_come_back_out_of_their_shards() {
    let urls = |row: usize| (0..=row % 7).map(|it| format!("https://a/{row}-{it}.jpg")).collect::<Vec<_>>().join(",");
    let body: Vec<String> = (1..200).map(|row| format!("{row},\"Cup\n{row}\",\"{}\"\n", urls(row))).collect();
    let file = format!("{HEADER}{}", body.concat());
    let (summary, rows) = read(&file);
    let mut sharder = Sharder::new(summary.images);
    let mut shards: Vec<Vec<u8>> = Vec::new();
    let again = read_csv(file.as_bytes(), &Rules::default(), |row| {
        shards.extend(sharder.push(row)?);
        Ok(())
    });
    assert_eq!(again.expect("it is written to memory"), summary);
    shards.extend(sharder.finish());
    assert_eq!(sharder.finish(), None);

    let read: Vec<Vec<imagebatch::manifest::row::Row>> =
        shards.iter().map(|shard| read_lines(shard).expect("it was written so")).collect();
    let (last, full) = read.split_last().expect("there are shards");
    let images = |rows: &[imagebatch::manifest::row::Row]| rows.iter().map(|row| row.urls.len()).sum::<usize>();
    assert!(full.iter().all(|rows| (25..32).contains(&images(rows))), "rows stay whole");
    assert!(images(last) < 32);
    assert_eq!(read.concat(), rows);
}
