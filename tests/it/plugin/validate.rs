//! `validate`: the text of its errors, its JSON and its exit codes. No server is needed.

use super::{Folder, Printed, command, ended};

async fn validate(folder: &Folder, csv: impl AsRef<[u8]>, arguments: &[&str]) -> Printed {
    folder.write("shop.csv", csv);
    let arguments = [&["validate", "shop.csv"], arguments].concat();
    // As where nobody has set up a cluster.
    let child = command(&arguments).current_dir(folder.path()).env("KUBECONFIG", "/nowhere").spawn();
    ended(child.expect("the plugin starts")).await
}

#[tokio::test]
async fn errors_are_shown_as_a_compiler_shows_them() {
    let folder = Folder::new();
    let csv = "S. No.;Product Name;Input Image Urls\n\
        1;Bowl;https://a.example/1.jpg, picture.jpg\n\
        2;;http://a.example/3.jpg\n\
        3;Clock\n\
        4;Cup;ftp://a.example/4.jpg\n";
    let printed = validate(&folder, csv, &[]).await.expect(3);
    let expected = r#"warning[InsecureUrl]: the URL is http: the image can be changed on the way
 --> shop.csv:3:4
  |
3 | 2;;http://a.example/3.jpg
  |    ^^^^^^^^^^^^^^^^^^^^^^ column "Input Image Urls"
  |
  = help: use https

error[MissingProductName]: the product name is empty
 --> shop.csv:3:3
  |
3 | 2;;http://a.example/3.jpg
  |   ^ column "Product Name"
  |
  = help: name every product

error[CellCount]: the row has 2 cells and the header has 3
 --> shop.csv:4:1
  |
4 | 3;Clock
  | ^^^^^^^
  |
  = help: quote cells that contain the delimiter or a line break

error[InvalidUrl]: the scheme is "ftp", not http or https
 --> shop.csv:5:7
  |
5 | 4;Cup;ftp://a.example/4.jpg
  |       ^^^^^^^^^^^^^^^^^^^^^ column "Input Image Urls"
  |
  = help: give a full URL such as https://shop.example/1.jpg

"#;
    let shown = printed.stderr.split("warning[SpaceInUrl]").next().expect("a start");
    assert!(printed.stderr.contains("warning[SpaceInUrl]"), "{}", printed.stderr);
    let (_, rest) = printed.stderr.split_once("warning[InsecureUrl]").unwrap_or((shown, ""));
    assert_eq!(format!("warning[InsecureUrl]{rest}"), expected, "{}", printed.stderr);
    assert_eq!(printed.stdout, "shop.csv: not valid: 3 errors\n");
}

#[tokio::test]
async fn a_header_and_a_file_of_another_kind_have_their_places() {
    let folder = Folder::new();
    let printed = validate(&folder, "No,Name\n1,Bowl\n", &[]).await.expect(3);
    let shown = " --> shop.csv:1:1\n  |\n1 | No,Name\n  | ^^^^^^^ column \"Input Image Urls\"\n";
    assert!(printed.stderr.starts_with("error[MissingColumn]: the header has no column"), "{}", printed.stderr);
    assert!(printed.stderr.contains(shown), "{}", printed.stderr);
    let printed = validate(&folder, b"PK\x03\x04\x00\x00", &[]).await.expect(3);
    assert!(
        printed.stderr.contains("error[NotCsv]") && printed.stderr.contains("--> shop.csv\n"),
        "{}",
        printed.stderr
    );
}

#[tokio::test]
async fn nothing_of_a_file_steers_the_terminal() {
    let folder = Folder::new();
    let csv = "S. No.,Product Name,Input Image Urls\n1,\x1b[2J\u{9b}2J\u{202e}Bowl,\x1b]0;owned\x07x.jpg\n";
    let printed = validate(&folder, csv, &[]).await.expect(3);
    assert!(printed.stderr.contains("error[InvalidUrl]"), "{}", printed.stderr);
    let is_bad = |it: char| it.is_control() && it != '\n' || it == '\u{202e}';
    assert!(!printed.stderr.contains(is_bad) && !printed.stdout.contains(is_bad), "{:?}", printed.stderr);
}

#[tokio::test]
async fn programs_get_json_and_exit_codes() {
    let folder = Folder::new();
    let csv = "S. No.,Product Name,Input Image Urls\n1,Bowl,https://a.example/1.jpg\n2,\"Two\nlines\",x.jpg\n";
    let printed = validate(&folder, csv, &["--output", "json", "--on-invalid-row", "skip"]).await.expect(2);
    let found = printed.json();
    assert_eq!(
        (&found["valid"], &found["rows"], &found["images"], &found["skippedRows"]),
        (&true.into(), &2.into(), &1.into(), &1.into())
    );
    let error = &found["errors"][0];
    assert_eq!((&error["code"], &error["line"]), (&"InvalidUrl".into(), &3.into()));
    assert_eq!(error["place"], serde_json::json!({ "line": 4, "column": 8 }));
    assert_eq!(found["counts"]["InvalidUrl"], 1);
    assert_eq!(printed.stderr, "");

    let printed = validate(&folder, "No,Name,Url\n1,Bowl,https://a.example/1.jpg\n", &[]).await.expect(0);
    assert_eq!(printed.stdout, "shop.csv: 1 row, 1 image: valid\n");
    validate(&folder, "No,Name,Url\n1,A,https://a.example/1.jpg\n2,B,https://a.example/2.jpg\n", &["--max-rows", "1"])
        .await
        .expect(3);
    for arguments in [&["validate", "missing.csv"][..], &["validate"], &["validate", "a.csv", "--unknown"]] {
        let child = command(arguments).current_dir(folder.path()).spawn().expect("the plugin starts");
        let printed = ended(child).await.expect(1);
        assert!(printed.stderr.starts_with("error: "), "{}", printed.stderr);
    }
}
