//! Names: that change, that fail, that are allowed.

use std::time::Duration;

use imagebatch::egress::{Egress, Network};

use crate::net::{Entry, NameServer, PUBLIC, RecordingDial, addresses, args, no_tls, word};
use crate::origin::{Answer, Origin, head, ok};

#[tokio::test]
async fn a_name_that_turns_private_is_not_dialled() {
    // Each request on a connection of its own, so that the name is asked for again.
    let closing = |body: &[u8]| Answer::Last(ok(body));
    let origin = Origin::start(move |_, _| closing(b"image")).await;
    let list = |texts: &[&str]| texts.iter().map(|it| it.parse().expect("an address")).collect::<Vec<_>>();
    let zone = [("rebind.test", Entry::Turns(vec![list(&[PUBLIC]), list(&["10.0.0.1"]), list(&["127.0.0.1"])]))];
    let name_server = NameServer::start(&zone).await;
    let dial = RecordingDial::to(origin.address);
    let network = Network { resolver: name_server.resolver(""), dial: dial.clone(), tls: no_tls() };
    let egress = Egress::with_network(&args(&[]), network);

    egress.fetch("http://rebind.test/1.jpg").await.0.expect("the first answer is public");
    for _ in 0..5 {
        let error = egress.fetch("http://rebind.test/2.jpg").await.0.expect_err("the next are not");
        assert_eq!(word(&error), "AddressForbidden", "{error}");
    }
    assert_eq!((dial.dialled().len(), dial.forbidden().len()), (1, 0));
    assert_eq!(name_server.asked("rebind.test"), 6, "one look-up a connection: what is checked is what is dialled");
}

#[tokio::test]
async fn a_name_that_turns_private_between_redirects_is_not_dialled() {
    let origin = Origin::start(|_, _| Answer::Last(head("302 Found\r\nLocation: http://rebind.test/again"))).await;
    let list = |text: &str| vec![text.parse().expect("an address")];
    let zone = [("rebind.test", Entry::Turns(vec![list(PUBLIC), list("169.254.169.254")]))];
    let name_server = NameServer::start(&zone).await;
    let dial = RecordingDial::to(origin.address);
    let network = Network { resolver: name_server.resolver(""), dial: dial.clone(), tls: no_tls() };
    let error = Egress::with_network(&args(&[]), network).fetch("http://rebind.test/").await.0.expect_err("refused");
    assert_eq!(word(&error), "AddressForbidden", "{error}");
    assert_eq!((dial.dialled().len(), dial.forbidden().len()), (1, 0));
}

#[tokio::test]
async fn absence_is_final_and_a_failing_name_server_is_not() {
    let zone = [
        ("fails.test", Entry::Fails),
        ("a.b.c.d.e.fails.test", Entry::Fails),
        ("silent.test", Entry::Silent),
        ("empty.test", addresses(&[])),
    ];
    let name_server = NameServer::start(&zone).await;
    let dial = RecordingDial::to(crate::net::nobody());
    let network = Network { resolver: name_server.resolver(""), dial: dial.clone(), tls: no_tls() };
    let egress = Egress::with_network(&args(&["--fetch-attempts=2", "--fetch-connect-timeout-seconds=1"]), network);
    for (host, expected, tries) in [
        ("nowhere.test", "HostNotFound", 1),
        ("empty.test", "HostNotFound", 1),
        ("fails.test", "LookUp", 2),
        // The search domains, which are asked after a name of so many parts, do not know it.
        ("a.b.c.d.e.fails.test", "LookUp", 2),
        ("silent.test", "Timeout", 2),
    ] {
        let (result, attempts) = egress.fetch(&format!("http://{host}/x.jpg")).await;
        let error = result.expect_err(host);
        assert_eq!((word(&error).as_str(), attempts), (expected, tries), "{host}: {error}");
        assert_eq!(error.is_transient(), tries == 2, "{host}");
    }
    assert_eq!(dial.dialled(), []);
}

#[tokio::test]
async fn the_hosts_file_and_search_domains_count_as_in_the_system() {
    let origin = Origin::start(|_, _| Answer::Bytes(ok(b"image"))).await;
    let zone = [("images.search.test", addresses(&[PUBLIC])), ("listed.test", addresses(&["10.0.0.1"]))];
    let name_server = NameServer::start(&zone).await;
    let dial = RecordingDial::to(origin.address);
    let hosts_file = "# comment\n93.184.216.35 listed.test other.test\n127.0.0.1 localhost\n";
    let network = Network { resolver: name_server.resolver(hosts_file), dial: dial.clone(), tls: no_tls() };
    let egress = Egress::with_network(&args(&[]), network);
    egress.fetch("http://images/x.jpg").await.0.expect("a name below the search domain");
    egress.fetch("http://listed.test/x.jpg").await.0.expect("the hosts file comes first");
    egress.fetch("http://OTHER.test./x.jpg").await.0.expect("whatever the case, with a dot at the end");
    assert_eq!(name_server.asked("listed.test"), 0);
    let error = egress.fetch("http://localhost/x.jpg").await.0.expect_err("it is judged like any other");
    assert_eq!(word(&error), "AddressForbidden");
    let dialled: Vec<String> = dial.dialled().iter().map(ToString::to_string).collect();
    assert_eq!(dialled, ["93.184.216.34:80", "93.184.216.35:80", "93.184.216.35:80"]);
}

#[tokio::test]
async fn allow_lists_permit_what_they_name_and_no_more() {
    let origin = Origin::start(|_, _| Answer::Bytes(ok(b"image"))).await;
    let zone = [
        ("images.shop.internal", addresses(&["10.1.0.1"])),
        ("cdn.shop.internal", addresses(&["10.2.0.1", "fd12::1"])),
        ("trap.shop.internal", addresses(&["169.254.169.254"])),
        ("self.shop.internal", addresses(&["127.0.0.1"])),
        ("shop.internal", addresses(&["10.2.0.2"])),
        ("host.docker.internal", addresses(&["192.168.65.254"])),
        ("elsewhere.test", addresses(&["10.9.0.1"])),
    ];
    let name_server = NameServer::start(&zone).await;
    let dial = RecordingDial::to(origin.address);
    let network = Network { resolver: name_server.resolver(""), dial: dial.clone(), tls: no_tls() };
    let given = [
        "--egress-allow-cidrs=10.1.0.0/16",
        "--egress-allow-hosts=*.shop.internal,host.docker.internal",
        "--egress-allow-ports=8080,9000-9001",
    ];
    let egress = Egress::with_network(&args(&given), network);
    for (url, expected) in [
        ("http://10.1.2.3/x.jpg", None),
        ("http://[::ffff:10.1.2.3]/x.jpg", None),
        ("http://images.shop.internal/x.jpg", None),
        ("http://cdn.shop.internal:8080/x.jpg", None),
        ("http://CDN.shop.internal.:9001/x.jpg", None),
        ("http://host.docker.internal:9000/x.jpg", None),
        ("http://10.2.0.1/x.jpg", Some("AddressForbidden")),
        ("http://shop.internal/x.jpg", Some("AddressForbidden")),
        ("http://elsewhere.test/x.jpg", Some("AddressForbidden")),
        // A host's name never opens the way to loopback and to clouds' services.
        ("http://trap.shop.internal/x.jpg", Some("AddressForbidden")),
        ("http://self.shop.internal/x.jpg", Some("AddressForbidden")),
        ("http://cdn.shop.internal:9002/x.jpg", Some("PortForbidden")),
    ] {
        let error = egress.fetch(url).await.0.err();
        assert_eq!(error.as_ref().map(word).as_deref(), expected, "{url}: {error:?}");
    }
    let allowed: Vec<String> = dial.forbidden().iter().map(|it| it.ip().to_string()).collect();
    assert_eq!(allowed, ["10.1.2.3", "::ffff:10.1.2.3", "10.1.0.1", "fd12::1", "fd12::1", "192.168.65.254"]);
}

/// IPv6 leads nowhere, as in most clusters.
#[derive(Debug)]
struct WithoutV6(std::sync::Arc<RecordingDial>);
impl imagebatch::egress::connector::Dial for WithoutV6 {
    fn dial(
        &self,
        address: std::net::SocketAddr,
    ) -> futures::future::BoxFuture<'static, std::io::Result<tokio::net::TcpStream>> {
        let reached = self.0.dial(address);
        if address.is_ipv4() { reached } else { Box::pin(std::future::pending()) }
    }
}

#[tokio::test]
async fn a_host_that_is_not_reachable_under_one_address_is_under_another() {
    let origin = Origin::start(|_, _| Answer::Bytes(ok(b"image"))).await;
    let zone = [("two.test", addresses(&[PUBLIC, "2606:4700::1"]))];
    let name_server = NameServer::start(&zone).await;

    let dial = RecordingDial::to(origin.address);
    let network = Network {
        resolver: name_server.resolver(""),
        dial: std::sync::Arc::new(WithoutV6(dial.clone())),
        tls: no_tls(),
    };
    let egress = Egress::with_network(&args(&[]), network);
    let fetched = tokio::time::timeout(Duration::from_secs(4), egress.fetch("http://two.test/x.jpg")).await;
    fetched.expect("long before the limit").0.expect("by IPv4");
    assert_eq!(dial.dialled().len(), 2);
}
