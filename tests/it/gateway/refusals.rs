//! Uploads that are refused for what they are: each names what is wrong and leaves nothing.

use std::fmt::Write;

use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Asker, CSV, FORM, csv_of, form, places, problem};
use super::surroundings::serve;
use crate::harness::Harness;

const HEADER: &str = "S. No.,Product Name,Input Image Urls\n";

#[tokio::test]
async fn every_bad_row_is_named() {
    let harness = Harness::start().await;
    let (url, _gateway) = harness.gateway().await;
    let gateway = Asker::new(&url);
    let csv = "S. No.,Product Name,Image Urls\n\
        1,Good,https://shop.example/1.jpg\n\
        2,\"Two\nlines\",not-a-url\n\
        3,,https://shop.example/3.jpg\n\
        4,Four\n\
        5,Five,\n\
        ,Six,\"ftp://shop.example/6.jpg,https://shop.example/6.jpg\"\n";
    let (number, name, urls) = (Some("S. No."), Some("Product Name"), Some("Image Urls"));
    for (kind, body) in [("text/csv", csv.into()), (FORM, form(&[("file", csv.as_bytes())]))] {
        let problem = problem(gateway.upload("", kind, body).await, 422, "InvalidSource").await;
        assert_eq!(problem["instance"], "/v1/batches");
        assert_eq!((&problem["errorCount"], &problem["rows"]), (&json!(6), &json!(6)), "{problem:#}");
        assert_eq!(problem["counts"]["InvalidUrl"], 2, "{problem:#}");
        let expected = [
            (Some(2), Some(3), urls, "InvalidUrl"),
            (Some(3), Some(5), name, "MissingProductName"),
            (Some(4), Some(6), None, "CellCount"),
            (Some(5), Some(7), urls, "MissingImageUrl"),
            (Some(6), Some(8), number, "MissingSerialNumber"),
            (Some(6), Some(8), urls, "InvalidUrl"),
        ];
        assert_eq!(places(&problem), expected, "{problem:#}");
        let first = &problem["errors"][0];
        assert_eq!(first["value"], "not-a-url");
        assert!(["message", "hint"].iter().all(|it| first[it].as_str().is_some_and(|it| !it.is_empty())), "{first}");
    }
    harness.assert_nothing_is_left().await;
}

#[tokio::test]
async fn bad_rows_beyond_the_list_are_counted() {
    let harness = Harness::start().await;
    let (url, _gateway) = harness.gateway().await;
    let mut csv = HEADER.to_owned();
    for row in 1..=1_500 {
        writeln!(csv, "{row},Bowl,nowhere").expect("a String grows");
    }
    let problem = problem(Asker::new(&url).upload("", "text/csv", csv).await, 422, "InvalidSource").await;
    assert_eq!(problem["errors"].as_array().map(Vec::len), Some(1_000));
    assert_eq!((&problem["errorCount"], &problem["counts"]["InvalidUrl"]), (&json!(1_500), &json!(1_500)));
    harness.assert_nothing_is_left().await;
}

#[tokio::test]
async fn files_that_are_no_product_csv_are_told_what_they_are() {
    let harness = Harness::start().await;
    let (url, _gateway) = harness.gateway().await;
    let gateway = Asker::new(&url);
    let mut spreadsheet = b"PK\x03\x04\x14\0\x06\0".to_vec();
    spreadsheet.extend((0..200_000_u32).map(|it| (it * 7 % 251) as u8));
    let page = format!("\n<!DOCTYPE html><html>{}</html>", "<p>Sign in</p>\n".repeat(20_000));
    let utf16: Vec<u8> = CSV.bytes().flat_map(|it| [it, 0]).collect();
    for (file, code) in [
        (&b""[..], "EmptyFile"),
        (b"\n\n", "EmptyFile"),
        (HEADER.as_bytes(), "NoRows"),
        (b"S. No.,Product Name\n1,Bowl\n", "MissingColumn"),
        (&spreadsheet, "NotCsv"),
        (page.as_bytes(), "NotCsv"),
        (b"%PDF-1.7\n", "NotCsv"),
        (&utf16, "NotUtf8"),
    ] {
        for (kind, body) in [("text/csv", file.to_vec().into()), (FORM, form(&[("file", file)]))] {
            let problem = problem(gateway.upload("", kind, body).await, 422, "InvalidSource").await;
            let [(row, .., found)] = places(&problem)[..] else { panic!("one problem in {problem:#}") };
            assert_eq!((row, found), (None, code), "{kind} {problem:#}");
            assert_eq!(problem["errorCount"], 1);
        }
    }
    harness.assert_nothing_is_left().await;
}

#[tokio::test]
async fn one_row_more_than_the_limit_is_too_many() {
    let harness = Harness::start().await;
    let (url, _gateway) = harness.gateway().await;
    let gateway = Asker::new(&url);
    let row = "1,Bowl,https://shop.example/1.jpg\n";
    let csv = format!("{HEADER}{}", row.repeat(5_001));
    let problem = problem(gateway.upload("", "text/csv", csv).await, 422, "InvalidSource").await;
    assert_eq!(places(&problem), [(None, Some(5_002), None, "TooManyRows")], "{problem:#}");
    harness.assert_nothing_is_left().await;
    gateway.submit(&format!("{HEADER}{}", row.repeat(5_000))).await;
}

#[tokio::test]
async fn a_bad_row_at_the_end_of_a_large_csv_leaves_no_part() {
    let harness = Harness::start().await;
    let (url, _gateway) = serve(harness.state(harness.settings_within(16 << 20))).await;
    let csv = csv_of(6 << 20) + "2,Bowl,nowhere,\n";
    let rows = csv.lines().count() as u64 - 1;
    let problem = problem(Asker::new(&url).upload("", "text/csv", csv).await, 422, "InvalidSource").await;
    let place = (Some(rows), Some(rows + 1), Some("Input Image Urls"), "InvalidUrl");
    assert_eq!(places(&problem), [place], "{problem:#}");
    harness.assert_nothing_is_left().await;
}

#[tokio::test]
async fn every_wrong_query_parameter_is_named() {
    let harness = Harness::start().await;
    let (url, _gateway) = harness.gateway().await;
    let gateway = Asker::new(&url);
    let named = |problem: &Value| -> Vec<String> {
        let errors = problem["errors"].as_array().expect("a list").iter();
        errors.map(|it| it["parameter"].as_str().expect("a name").to_owned()).collect()
    };
    let query = "?quality=101&minQuality=0&parallelism=1.5&activeDeadlineSeconds=59&deletionPolicy=Keep&colour=red&namespace=a&namespace=b";
    let refused = problem(gateway.upload(query, "text/csv", CSV).await, 400, "InvalidParameter").await;
    let expected =
        ["quality", "minQuality", "parallelism", "activeDeadlineSeconds", "deletionPolicy", "colour", "namespace"];
    assert_eq!(named(&refused), expected, "{refused:#}");
    let detail = refused["detail"].as_str().unwrap_or_default();
    assert!(expected.iter().all(|it| detail.contains(it)), "{detail}");
    harness.assert_nothing_is_left().await;

    let id = gateway.submit(CSV).await;
    for path in
        [format!("/v1/batches/{id}?quality=50&page=2"), format!("/v1/batches/{id}/output.csv?quality=50&page=2")]
    {
        let refused = problem(gateway.get(&path).await, 400, "InvalidParameter").await;
        assert_eq!(named(&refused), ["quality", "page"], "{refused:#}");
    }
}

#[tokio::test]
async fn bodies_of_other_types_are_refused() {
    let harness = Harness::start().await;
    let (url, _gateway) = harness.gateway().await;
    let gateway = Asker::new(&url);
    for kind in [
        "application/xml",
        "application/octet-stream",
        "text/csvx",
        "text/csv; charset=iso-8859-1",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ] {
        problem(gateway.upload("", kind, CSV).await, 415, "UnsupportedMediaType").await;
    }
    let post = || gateway.request(Method::POST, "/v1/batches").body(CSV);
    let untyped = post().send().await.expect("the gateway answers");
    problem(untyped, 415, "UnsupportedMediaType").await;
    let encoded = post().header("content-type", "text/csv").header("content-encoding", "br");
    problem(encoded.send().await.expect("the gateway answers"), 415, "UnsupportedMediaType").await;
    harness.assert_nothing_is_left().await;
}

#[tokio::test]
async fn forms_have_one_whole_part_named_file() {
    let harness = Harness::start().await;
    let (url, _gateway) = harness.gateway().await;
    let gateway = Asker::new(&url);
    let file = ("file", CSV.as_bytes());
    let whole = form(&[file]);
    for (kind, body) in [
        (FORM, form(&[])),
        (FORM, form(&[("upload", CSV.as_bytes())])),
        (FORM, form(&[file, ("quality", b"70")])),
        (FORM, form(&[file, file])),
        (FORM, whole.slice(..whole.len() - "\r\n--frontier--\r\n".len())),
        (FORM, CSV.into()),
        ("multipart/form-data", whole.clone()),
        ("multipart/form-data; boundary=another", whole.clone()),
    ] {
        let text = String::from_utf8_lossy(&body).into_owned();
        let refused = problem(gateway.upload("", kind, body).await, 400, "MalformedRequest").await;
        assert!(refused["detail"].as_str().is_some_and(|it| it.contains("form")), "{text}: {refused:#}");
    }
    harness.assert_nothing_is_left().await;
}

#[tokio::test]
async fn namespaces_that_are_not_enabled_have_no_batches() {
    let harness = Harness::start().await;
    let (url, _gateway) = harness.gateway().await;
    let gateway = Asker::new(&url);
    let upload = gateway.upload("?namespace=default", "text/csv", CSV).await;
    let show = gateway.get("/v1/batches/any?namespace=default").await;
    let report = gateway.get("/v1/batches/any/output.csv?namespace=default").await;
    for response in [upload, show, report] {
        let refused = problem(response, 404, "NamespaceNotEnabled").await;
        assert_eq!(refused["namespaces"], json!([harness.namespace]));
    }
    harness.assert_nothing_is_left().await;
}
