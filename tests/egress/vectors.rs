//! The table of ways around the guard: asked for directly, and as the target of a public host's
//! redirect. Pass: each has its code, and no socket was opened to an address that is not public.

use std::net::SocketAddr;

use crate::net::{Entry, NameServer, PUBLIC, RecordingDial, addresses, args, no_tls, word};
use crate::origin::{Answer, Origin, head, ok};
use imagebatch::egress::{Egress, Network};

/// Hosts that are addresses, in every spelling; all end as `AddressForbidden`.
const LITERALS: &[&str] = &[
    // Loopback and "this host" (RFC 1122), as inet_aton and browsers read it.
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "127.255.255.254",
    "127.0.0.1.",
    "0",
    "0.0.0.0",
    "0x7f000001",
    "0X7F.0x0.0x0.0x1",
    "0x7f.1",
    "2130706433",
    "017700000001",
    "0177.0.0.1",
    "0177.0x0.0.1",
    "%31%32%37.0.0.1",
    "１２７.０.０.１",
    "127。0。0。1",
    "①②⑦.⓪.⓪.①",
    // Private and shared.
    "10.0.0.1",
    "10.255.255.255",
    "012.0.0.1",
    "0xa000001",
    "167772161",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "192.168.257",
    "3232235777",
    "100.64.0.1",
    "100.127.255.255",
    // Link-local, clouds' services.
    "169.254.169.254",
    "169.254.20.10",
    "169.254.170.2",
    "0xa9fea9fe",
    "2852039166",
    "0251.0376.0251.0376",
    "169.16689662",
    "100.100.100.200",
    "168.63.129.16",
    // Protocol assignments, benchmarking, documentation, 6to4 relays, multicast, reserved, broadcast.
    "192.0.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    // IPv6: unspecified, loopback, link-local, site-local, unique local, multicast.
    "[::]",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[0000::0001]",
    "[fe80::1]",
    "[febf::1]",
    "[fec0::1]",
    "[fc00::1]",
    "[fd00::1]",
    "[fd00:ec2::254]",
    "[fd20:ce::254]",
    "[ff02::1]",
    "[ff0e::1]",
    // Discard, segment routing, documentation, protocol assignments, not global unicast.
    "[100::1]",
    "[5f00::1]",
    "[2001:db8::1]",
    "[3fff::1]",
    "[2001:2::1]",
    "[2001:10::1]",
    "[2001:20::1]",
    "[4000::1]",
    "[e000::1]",
    // IPv4 inside of IPv6: mapped, compatible, SIIT, NAT64, 6to4, Teredo, ISATAP.
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::FFFF:10.0.0.1]",
    "[::ffff:a9fe:a9fe]",
    "[::10.0.0.1]",
    "[::7f00:1]",
    "[::ffff:0:10.0.0.1]",
    "[::ffff:0:a9fe:a9fe]",
    "[64:ff9b::10.0.0.1]",
    "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b:1::a00:1]",
    "[64:ff9b:1:a00:0:100::]",
    "[64:ff9b:2::808:808]",
    "[2002:a00:1::]",
    "[2002:7f00:1::1]",
    "[2002:a9fe:a9fe::]",
    "[2002:808:808::1]",
    "[2001::1]",
    "[2001:0:a00:1:0:0:f7f7:f7f7]",
    "[2001:0:808:808:0:0:f5ff:fffe]",
    "[2a00:1450::5efe:10.0.0.1]",
    "[2a00:1450::200:5efe:a00:1]",
    "[fe80::5efe:a00:1]",
];

/// Names that lead to addresses that are not public; all end as `AddressForbidden`.
fn names() -> Vec<(&'static str, Entry)> {
    vec![
        ("localhost", addresses(&["127.0.0.1", "::1"])),
        ("kubernetes.default.svc", addresses(&["10.96.0.1"])),
        ("metadata.google.internal", addresses(&["169.254.169.254"])),
        ("instance-data.ec2.internal", addresses(&["169.254.169.254", "fd00:ec2::254"])),
        ("mapped.test", addresses(&["::ffff:10.0.0.1"])),
        ("nat64.test", addresses(&["64:ff9b::a00:1"])),
        ("sixtofour.test", addresses(&["2002:a00:1::"])),
        ("zero.test", addresses(&["0.0.0.0"])),
        ("mixed.test", addresses(&[PUBLIC, "10.0.0.1"])),
        ("mixed-first.test", addresses(&["10.0.0.1", PUBLIC])),
        ("mixed-families.test", addresses(&[PUBLIC, "fd00::1"])),
        ("alias.test", Entry::Alias("inside.cluster.local", vec!["10.96.0.10".parse().expect("an address")])),
        ("searched.search.test", addresses(&["10.0.0.7"])),
        ("under_score.test", addresses(&["192.168.0.1"])),
        ("xn--bcher-kva.test", addresses(&["10.0.0.1"])),
    ]
}

/// URLs that name the hosts of [`names`], and what else they try.
const NAMED: &[&str] = &[
    "http://localhost/x.jpg",
    "http://LOCALHOST/x.jpg",
    "http://localhost./x.jpg",
    "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/x.jpg",
    "http://local%68ost/x.jpg",
    "http://kubernetes.default.svc/x.jpg",
    "https://kubernetes.default.svc/x.jpg",
    "http://kubernetes.default.svc./x.jpg",
    "http://metadata.google.internal/computeMetadata/v1/",
    "http://instance-data.ec2.internal/x.jpg",
    "http://mapped.test/x.jpg",
    "http://nat64.test/x.jpg",
    "http://sixtofour.test/x.jpg",
    "http://zero.test/x.jpg",
    "http://mixed.test/x.jpg",
    "http://mixed-first.test/x.jpg",
    "http://mixed-families.test/x.jpg",
    "http://alias.test/x.jpg",
    "http://searched/x.jpg",
    "http://under_score.test/x.jpg",
    "http://bücher.test/x.jpg",
    "http://xn--bcher-kva.test/x.jpg",
];

/// URLs that are refused for what they are.
const REFUSED: &[(&str, &str)] = &[
    ("http://user@public.test/x.jpg", "InvalidUrl"),
    ("http://user:password@public.test/x.jpg", "InvalidUrl"),
    ("http://:password@public.test/x.jpg", "InvalidUrl"),
    ("http://public.test@10.0.0.1/x.jpg", "InvalidUrl"),
    ("http://public.test:80@10.0.0.1/x.jpg", "InvalidUrl"),
    ("http://10.0.0.1%2f@public.test/x.jpg", "InvalidUrl"),
    ("http://public.test\\@10.0.0.1/x.jpg", "InvalidUrl"),
    ("http://public.test\\.10.0.0.1/x.jpg", "InvalidUrl"),
    ("http:\\\\10.0.0.1\\x.jpg", "InvalidUrl"),
    ("http://10.0.0.1\r\n/x.jpg", "InvalidUrl"),
    ("http://public.test/x.jpg\r\nHost: 10.0.0.1", "InvalidUrl"),
    ("http://public.test\t.evil.test/x.jpg", "InvalidUrl"),
    ("ht\ntp://10.0.0.1/x.jpg", "InvalidUrl"),
    ("http://127.0.0.1\0.public.test/x.jpg", "InvalidUrl"),
    ("http://public.test/\u{85}x.jpg", "InvalidUrl"),
    ("\u{1}http://10.0.0.1/x.jpg", "InvalidUrl"),
    (" http://10.0.0.1/x.jpg", "InvalidUrl"),
    ("http://10.0.0.1/x.jpg\u{a0}", "InvalidUrl"),
    ("http://public test/x.jpg", "InvalidUrl"),
    ("http://127.0.0.1%00.public.test/x.jpg", "InvalidUrl"),
    ("http://127.0.0.1%0d%0a.public.test/x.jpg", "InvalidUrl"),
    ("http://[fe80::1%25eth0]/x.jpg", "InvalidUrl"),
    ("http://[fe80::1%eth0]/x.jpg", "InvalidUrl"),
    ("http://[::1/x.jpg", "InvalidUrl"),
    ("http://::1/x.jpg", "InvalidUrl"),
    ("http://[v1.10.0.0.1]/x.jpg", "InvalidUrl"),
    ("http://127.0.0.256/x.jpg", "InvalidUrl"),
    ("http://256.256.256.256/x.jpg", "InvalidUrl"),
    ("http://4294967296/x.jpg", "InvalidUrl"),
    ("http://1.2.3.4.5/x.jpg", "InvalidUrl"),
    ("http://0x7f.1.2.3.4/x.jpg", "InvalidUrl"),
    ("http://127.0.0.1../x.jpg", "InvalidUrl"),
    ("http://0../x.jpg", "InvalidUrl"),
    ("http://.localhost/x.jpg", "InvalidUrl"),
    ("http://public..test/x.jpg", "InvalidUrl"),
    ("http://", "InvalidUrl"),
    ("http:///", "InvalidUrl"),
    ("", "InvalidUrl"),
    ("x.jpg", "InvalidUrl"),
    ("//10.0.0.1/x.jpg", "InvalidUrl"),
    ("file:///etc/passwd", "InvalidUrl"),
    ("file://10.0.0.1/x.jpg", "InvalidUrl"),
    ("gopher://10.0.0.1:6379/_INFO", "InvalidUrl"),
    ("data:image/png;base64,iVBORw0KGgo=", "InvalidUrl"),
    ("ftp://10.0.0.1/x.jpg", "InvalidUrl"),
    ("ws://10.0.0.1/x.jpg", "InvalidUrl"),
    ("jar:http://10.0.0.1!/x.jpg", "InvalidUrl"),
    ("javascript:alert(1)", "InvalidUrl"),
    ("unix:/var/run/docker.sock", "InvalidUrl"),
    ("http+unix://%2Fvar%2Frun%2Fdocker.sock/x", "InvalidUrl"),
    ("http://public.test:22/x.jpg", "PortForbidden"),
    ("http://public.test:6379/x.jpg", "PortForbidden"),
    ("http://public.test:10250/x.jpg", "PortForbidden"),
    ("https://public.test:8443/x.jpg", "PortForbidden"),
    ("http://public.test:0/x.jpg", "PortForbidden"),
    ("http://127.0.0.1:8080/x.jpg", "PortForbidden"),
    ("http://public.test:65536/x.jpg", "InvalidUrl"),
    ("http://public.test:80:80/x.jpg", "InvalidUrl"),
    ("http:10.0.0.1/x.jpg", "AddressForbidden"),
    ("http:/10.0.0.1/x.jpg", "AddressForbidden"),
    ("http:////10.0.0.1/x.jpg", "AddressForbidden"),
    ("HTTP://10.0.0.1/x.jpg", "AddressForbidden"),
    ("http://10.0.0.1:443/x.jpg", "AddressForbidden"),
    ("http://10.0.0.1?x.jpg", "AddressForbidden"),
    ("http://10.0.0.1#@public.test/x.jpg", "AddressForbidden"),
    ("http://10.0.0.1?@public.test/x.jpg", "AddressForbidden"),
];

/// Returns every vector with its code.
fn vectors() -> Vec<(String, &'static str)> {
    let literals = LITERALS
        .iter()
        .flat_map(|host| ["http", "https"].map(|scheme| (format!("{scheme}://{host}/x.jpg"), "AddressForbidden")));
    let named = NAMED.iter().map(|url| ((*url).to_owned(), "AddressForbidden"));
    let long = (format!("http://public.test/{}", "x".repeat(2_048)), "UrlTooLong");
    let refused = REFUSED.iter().map(|(url, code)| ((*url).to_owned(), *code));
    literals.chain(named).chain(refused).chain([long]).collect()
}

struct Guarded {
    egress: Egress,
    dial: std::sync::Arc<RecordingDial>,
    _name_server: NameServer,
}

async fn guarded(origin: SocketAddr) -> Guarded {
    let mut zone = names();
    zone.push(("public.test", addresses(&[PUBLIC])));
    let name_server = NameServer::start(&zone).await;
    let dial = RecordingDial::to(origin);
    let network = Network { resolver: name_server.resolver(""), dial: dial.clone(), tls: no_tls() };
    Guarded { egress: Egress::with_network(&args(&[]), network), dial, _name_server: name_server }
}

#[tokio::test]
async fn no_url_leads_inside() {
    let origin = Origin::start(|_, _| Answer::Bytes(ok(b"secret"))).await;
    let guarded = guarded(origin.address).await;
    let vectors = vectors();
    for (url, code) in &vectors {
        let (result, attempts) = guarded.egress.fetch(url).await;
        let error = result.expect_err(url);
        assert_eq!((word(&error).as_str(), attempts), (*code, 1), "{url:?}: {error}");
        if NAMED.contains(&url.as_str()) {
            let told = error.to_string();
            let revealed = ["10.", "127.", "169.", "192.", "fd00", "::"].iter().find(|it| told.contains(**it));
            assert_eq!(revealed, None, "{told}: nobody learns the addresses of inner names");
        }
    }
    assert_eq!(guarded.dial.dialled(), [], "not even a public address of a mixed answer");
    assert_eq!(origin.connections(), 0);
    eprintln!("{} vectors, {} sockets", vectors.len(), guarded.dial.dialled().len());
    assert!(vectors.len() >= 80);

    let (result, _) = guarded.egress.fetch("http://public.test/x.jpg").await;
    assert_eq!(result.expect("a public host is fetched from"), "secret");
    assert_eq!(guarded.dial.dialled().len(), 1, "the sockets are counted");
}

#[tokio::test]
async fn no_redirect_leads_inside() {
    let vectors: Vec<(String, &str)> = vectors()
        .into_iter()
        // What is no header value, or is a path below the public host, is no redirect to elsewhere.
        .filter(|(url, _)| url.contains(':') && !url.contains(['\r', '\n', '\0', '\u{1}']) && url.trim() == url)
        // With one slash or none, a Location of the same scheme is a path of the same host (WHATWG).
        .filter(|(url, _)| !url.starts_with("http:1") && !url.starts_with("http:/1"))
        // A Location may be longer than a user's URL.
        .filter(|(_, code)| *code != "UrlTooLong")
        .collect();
    let locations: Vec<String> = vectors.iter().map(|(url, _)| url.clone()).collect();
    let origin = Origin::start(move |head_of_request, _| {
        let path = head_of_request.split(' ').nth(1).expect("a path");
        match path.strip_prefix("/to/").map(|index| index.parse::<usize>().expect("an index")) {
            Some(index) => {
                let status = [301, 302, 303, 307, 308][index % 5];
                Answer::Bytes(head(&format!("{status} Elsewhere\r\nLocation: {}", locations[index])))
            }
            None => Answer::Bytes(ok(b"secret")),
        }
    })
    .await;
    let guarded = guarded(origin.address).await;
    for (index, (url, code)) in vectors.iter().enumerate() {
        let (result, _) = guarded.egress.fetch(&format!("http://public.test/to/{index}")).await;
        let error = result.expect_err(url);
        let expected = if *code == "AddressForbidden" { "AddressForbidden" } else { "RedirectRefused" };
        assert_eq!(word(&error), expected, "{url:?}: {error}");
    }
    assert_eq!(guarded.dial.forbidden(), []);
    assert_eq!(origin.requests().len(), vectors.len(), "one request each, and none that was redirected");
    eprintln!("{} redirects, {} forbidden sockets", vectors.len(), guarded.dial.forbidden().len());
}
