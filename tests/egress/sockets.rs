//! The system's own sockets: a listener on every address of this machine counts who comes.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use imagebatch::egress::connector::SystemDial;
use imagebatch::egress::{Egress, Network};
use tokio::net::TcpListener;

use crate::net::{NameServer, addresses, args, no_tls, word};
use crate::origin::{Answer, Origin, ok};

/// Returns a listener on all addresses of both families, or of IPv4 where there is no other.
async fn listen() -> TcpListener {
    match TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))).await {
        Ok(listener) => listener,
        Err(_) => TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))).await.expect("a free port"),
    }
}

/// Returns the address this machine has in its network, if it is in one; nothing is sent.
fn own_address() -> Option<String> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip().to_string())
}

#[tokio::test]
async fn no_spelling_of_this_machine_opens_a_socket() {
    let listener = listen().await;
    let port = listener.local_addr().expect("an address").port();
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&accepted);
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    let zone = [
        ("four.test", addresses(&["127.0.0.1"])),
        ("six.test", addresses(&["::1"])),
        ("any.test", addresses(&["0.0.0.0", "::"])),
        ("mapped.test", addresses(&["::ffff:127.0.0.1"])),
    ];
    let name_server = NameServer::start(&zone).await;
    let client = |given: &[&str]| {
        let resolver = name_server.resolver("127.0.0.1 localhost\n::1 localhost\n");
        let network = Network { resolver, dial: Arc::new(SystemDial), tls: no_tls() };
        let ports = format!("--egress-allow-ports={port}");
        let given: Vec<&str> = given.iter().copied().chain([ports.as_str()]).collect();
        Egress::with_network(&args(&given), network)
    };
    let mut hosts: Vec<String> = [
        "127.0.0.1",
        "127.1",
        "127.0.0.2",
        "127.255.255.254",
        "0",
        "0.0.0.0",
        "0x7f000001",
        "0x7f.1",
        "2130706433",
        "017700000001",
        "0177.0.0.1",
        "１２７.０.０.１",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:0.0.0.0]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "localhost",
        "LocalHost.",
        "four.test",
        "six.test",
        "any.test",
        "mapped.test",
    ]
    .map(str::to_owned)
    .to_vec();
    hosts.extend(own_address());
    let guarded = client(&[]);
    for host in &hosts {
        for scheme in ["http", "https"] {
            let error = guarded.fetch(&format!("{scheme}://{host}:{port}/x.jpg")).await.0.expect_err(host);
            assert_eq!(word(&error), "AddressForbidden", "{host}: {error}");
        }
    }

    // The listener accepts in order: what came before this connection would be counted before it.
    let open = client(&["--egress-allow-cidrs=127.0.0.0/8"]);
    let error = open.fetch(&format!("http://127.0.0.1:{port}/x.jpg")).await.0.expect_err("it hangs up");
    assert_eq!(word(&error), "Connect", "{error}");
    assert_eq!(accepted.load(Ordering::SeqCst), 1, "the allowed connection, and no other");
    eprintln!("{} requests to this machine, 0 sockets", 2 * hosts.len());
}

#[tokio::test]
async fn the_systems_network_is_used_as_it_is() {
    let origin = Origin::start(|_, _| Answer::Bytes(ok(b"image"))).await;
    let given = ["--egress-allow-cidrs=127.0.0.0/8,::1/128", "--egress-allow-ports=1024-65535"];
    let egress = Egress::new(&args(&given)).expect("the system has certificate authorities");
    // By the hosts file, which every system has this name in.
    let url = format!("http://localhost:{}/x.jpg", origin.address.port());
    assert_eq!(egress.fetch(&url).await.0.expect("an image"), "image");
}
