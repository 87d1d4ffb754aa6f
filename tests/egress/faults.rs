//! Hosts that answer wrongly: each fault has its code, and none holds the client or fills its memory.

use async_compression::tokio::write::GzipEncoder;
use tokio::io::AsyncWriteExt;

use crate::net::{client, nobody, word};
use crate::origin::{Answer, Origin, head, ok};

/// Returns bytes compressed by gzip.
async fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzipEncoder::new(Vec::new());
    encoder.write_all(bytes).await.expect("a Vec grows");
    encoder.shutdown().await.expect("a Vec grows");
    encoder.into_inner()
}

/// Returns a complete answer whose body claims to be compressed.
fn encoded(encoding: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

#[tokio::test]
async fn each_broken_answer_has_its_code() {
    let zeros = gzip(&vec![0; 50_000_000]).await;
    assert!(zeros.len() < 100_000, "a bomb: 500 times larger inside");
    let text = gzip(b"some text that is long enough to be cut in two").await;
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let cases: Vec<(&str, Answer, Result<&str, &str>)> = vec![
        ("complete", Answer::Bytes(ok(b"image")), Ok("image")),
        (
            "announces less than it sends",
            Answer::Last(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nimage".to_vec()),
            Ok("ima"),
        ),
        (
            "announces more than it sends",
            Answer::Last(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nimage".to_vec()),
            Err("BodyIncomplete"),
        ),
        ("announces no length", Answer::Last(b"HTTP/1.1 200 OK\r\n\r\nimage".to_vec()), Ok("image")),
        (
            "announces two lengths",
            Answer::Last(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nimage".to_vec()),
            Err("InvalidResponse"),
        ),
        (
            "announces a length that is none",
            Answer::Last(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nimage".to_vec()),
            Err("InvalidResponse"),
        ),
        (
            "announces more than the limit",
            Answer::Stall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000001\r\n\r\n".to_vec()),
            Err("TooLarge"),
        ),
        (
            "breaks off within chunks",
            Answer::Last(format!("{chunked}5\r\nimage\r\n").into_bytes()),
            Err("BodyIncomplete"),
        ),
        (
            "sends chunks that are none",
            Answer::Last(format!("{chunked}zz\r\nimage\r\n0\r\n\r\n").into_bytes()),
            Err("InvalidResponse"),
        ),
        ("sends a gzip bomb", Answer::Bytes(encoded("gzip", &zeros)), Err("TooLarge")),
        ("compresses", Answer::Bytes(encoded("gzip", &text)), Ok("some text that is long enough to be cut in two")),
        ("breaks off within gzip", Answer::Bytes(encoded("gzip", &text[..text.len() / 2])), Err("BodyIncomplete")),
        ("lies about gzip", Answer::Bytes(encoded("gzip", b"no gzip at all, but text")), Err("InvalidResponse")),
        ("lies about brotli", Answer::Bytes(encoded("br", &[0xff; 64])), Err("InvalidResponse")),
        (
            "compresses in a way that was not asked for",
            Answer::Bytes(encoded("gzip, gzip", b"left as it is")),
            Ok("left as it is"),
        ),
        ("is no web server", Answer::Last(b"SSH-2.0-OpenSSH_9.9\r\n".to_vec()), Err("InvalidResponse")),
        ("speaks HTTP/0.9", Answer::Last(b"image".to_vec()), Err("InvalidResponse")),
        ("speaks HTTP/2 unasked", Answer::Last(b"\0\0\x12\x04\0\0\0\0\0".to_vec()), Err("InvalidResponse")),
        ("hangs up", Answer::Last(Vec::new()), Err("Connect")),
        ("resets the connection", Answer::Reset, Err("Connect")),
        ("has nothing", Answer::Bytes(head("204 No Content")), Err("Status")),
        ("sends a part", Answer::Bytes(head("206 Partial Content")), Err("Status")),
        ("says it has not changed", Answer::Bytes(head("304 Not Modified")), Err("Status")),
        (
            "switches to h2c",
            Answer::Last(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n".to_vec()),
            Err("Status"),
        ),
        ("sends on without saying where", Answer::Bytes(head("302 Found")), Err("Status")),
        (
            "sends headers for ever",
            Answer::Forever(b"HTTP/1.1 200 OK\r\n".to_vec(), b"X: y\r\n".repeat(1_000), std::time::Duration::ZERO),
            Err("InvalidResponse"),
        ),
    ];
    for (what, answer, expected) in cases {
        let answer = std::sync::Mutex::new(Some(answer));
        let origin = Origin::start(move |_, _| {
            answer.lock().expect("not poisoned").take().unwrap_or(Answer::Last(b"asked twice".to_vec()))
        })
        .await;
        let (egress, _) = client(origin.address, &[]).await;
        let (result, _) = egress.fetch("http://public.test/x.jpg").await;
        match (&result, expected) {
            (Ok(body), Ok(expected)) => assert_eq!(body, expected, "a host that {what}"),
            (Err(error), Err(expected)) => assert_eq!(word(error), expected, "a host that {what}: {error}"),
            _ => panic!("a host that {what}: {result:?}"),
        }
        assert_eq!(origin.requests().len(), 1, "a host that {what}");
    }
}

#[tokio::test]
async fn a_port_without_a_server_is_no_connection() {
    let (egress, dial) = client(nobody(), &[]).await;
    let error = egress.fetch("http://public.test/x.jpg").await.0.expect_err("nobody listens");
    assert_eq!((word(&error).as_str(), error.is_transient()), ("Connect", true), "{error}");
    assert_eq!(dial.dialled().len(), 1);
}

#[tokio::test]
async fn requests_say_who_asks_and_nothing_else() {
    let elsewhere = "302 Found\r\nLocation: http://b.test/second?a=b#c\r\nSet-Cookie: id=1; Domain=b.test";
    let origin = Origin::start(|request, _| {
        Answer::Bytes(if request.contains("/first") { head(elsewhere) } else { ok(b"image") })
    })
    .await;
    let (egress, _) = client(origin.address, &["--egress-contact=https://shop.example/bot"]).await;
    egress.fetch("http://a.test/first#fragment").await.0.expect("an image");
    let agent = concat!("user-agent: ImageBatch/", env!("CARGO_PKG_VERSION"), " (+https://shop.example/bot)\r\n");
    let rest = format!("{agent}accept: */*\r\naccept-encoding: gzip,br\r\n");
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.trim_end().lines().map(str::to_lowercase).collect();
        lines[1..].sort_unstable();
        lines
    };
    let expected = [
        format!("GET /first HTTP/1.1\r\n{rest}host: a.test\r\n"),
        format!("GET /second?a=b HTTP/1.1\r\n{rest}host: b.test\r\n"),
    ];
    let requests: Vec<Vec<String>> = origin.requests().iter().map(|it| sorted(it)).collect();
    assert_eq!(requests, expected.map(|it| sorted(&it)), "no cookie, Referer, Upgrade or credential");
}

/// Runs itself again with the environment of a process behind a proxy: to change the own environment
/// is unsound while other tests run.
#[tokio::test]
async fn a_proxy_of_the_environment_is_not_used() {
    if std::env::var_os("HTTP_PROXY").is_none() {
        let mut command = std::process::Command::new(std::env::current_exe().expect("a path"));
        command.args(["--exact", "faults::a_proxy_of_the_environment_is_not_used"]);
        for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"] {
            command.env(name, "http://10.0.0.1:3128");
        }
        let output = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic").expect("it starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    }
    let origin = Origin::start(|_, _| Answer::Bytes(ok(b"image"))).await;
    let (egress, dial) = client(origin.address, &[]).await;
    egress.fetch("http://public.test/x.jpg").await.0.expect("an image");
    assert_eq!(dial.forbidden(), []);
    assert!(origin.requests()[0].starts_with("GET /x.jpg "), "a proxy would be asked for the whole URL");
}
