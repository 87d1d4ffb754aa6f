//! The network of a test: sockets that are recorded, and a name server whose answers a test decides.
//!
//! Every address leads to the test's origin, public or not. So public addresses can be used as such,
//! with the rules as they are installed, and a hole in the guard is a download that succeeds.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use clap::Parser;
use futures::future::BoxFuture;
use hickory_resolver::Hosts;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::CNAME;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use imagebatch::egress::connector::Dial;
use imagebatch::egress::resolver::Resolver;
use imagebatch::egress::{Egress, EgressArgs, FetchError, Network};
use tokio::net::{TcpStream, UdpSocket};

use crate::oracle::is_global;

/// A public address, which leads to the test's origin.
pub(crate) const PUBLIC: &str = "93.184.216.34";

#[derive(Parser)]
struct Process {
    #[command(flatten)]
    egress: EgressArgs,
}

/// Returns arguments for one quick try with the installation's limits of time, and those given.
pub(crate) fn args(given: &[&str]) -> EgressArgs {
    let quick = ["--fetch-attempts=1", "--fetch-backoff-milliseconds=20", "--fetch-max-bytes=1000000"];
    // A later flag would not replace an earlier one.
    let name = |flag: &str| flag.split('=').next().unwrap_or_default().to_owned();
    let kept = quick.iter().filter(|flag| !given.iter().any(|it| name(it) == name(flag)));
    Process::parse_from(["test"].iter().chain(kept).chain(given)).egress
}

/// Returns the word of a failure: the name of its variant.
pub(crate) fn word(error: &FetchError) -> String {
    format!("{error:?}").chars().take_while(char::is_ascii_alphanumeric).collect()
}

/// Sockets that all lead to the origin, and a list of the addresses that were dialled.
#[derive(Debug)]
pub(crate) struct RecordingDial {
    origin: SocketAddr,
    dialled: Mutex<Vec<SocketAddr>>,
}

impl RecordingDial {
    pub(crate) fn to(origin: SocketAddr) -> Arc<Self> {
        Arc::new(Self { origin, dialled: Mutex::default() })
    }

    /// Returns the addresses that were dialled, in order.
    pub(crate) fn dialled(&self) -> Vec<SocketAddr> {
        self.dialled.lock().expect("not poisoned").clone()
    }

    /// Returns the dialled addresses that are not globally routable, by the second implementation.
    pub(crate) fn forbidden(&self) -> Vec<SocketAddr> {
        self.dialled().into_iter().filter(|it| !is_global(it.ip())).collect()
    }
}

impl Dial for RecordingDial {
    fn dial(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<TcpStream>> {
        self.dialled.lock().expect("not poisoned").push(address);
        Box::pin(TcpStream::connect(self.origin))
    }
}

/// A record of the name server's zone.
#[derive(Debug, Clone)]
pub(crate) enum Entry {
    /// Addresses of both families, all in one answer.
    Addresses(Vec<IpAddr>),
    /// One list of addresses after the other, the last for ever.
    Turns(Vec<Vec<IpAddr>>),
    /// Another name, and its addresses in the same answer.
    Alias(&'static str, Vec<IpAddr>),
    /// SERVFAIL.
    Fails,
    /// No answer.
    Silent,
}

/// Returns an entry of addresses.
pub(crate) fn addresses(list: &[&str]) -> Entry {
    Entry::Addresses(list.iter().map(|it| it.parse().expect("an address")).collect())
}

/// A name server on loopback; what is not in its zone does not exist. Every TTL is 0.
pub(crate) struct NameServer {
    address: SocketAddr,
    asked: Arc<Mutex<HashMap<(String, RecordType), usize>>>,
}

impl NameServer {
    pub(crate) async fn start(zone: &[(&'static str, Entry)]) -> Self {
        let zone: HashMap<String, Entry> =
            zone.iter().map(|(name, entry)| ((*name).to_owned(), entry.clone())).collect();
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        let address = socket.local_addr().expect("an address");
        let asked = Arc::new(Mutex::new(HashMap::new()));
        let counts = Arc::clone(&asked);
        tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                let query = Message::from_vec(&buffer[..length]).expect("a query");
                if let Some(answer) = respond(&zone, &counts, &query) {
                    socket.send_to(&answer.to_vec().expect("a message"), from).await.expect("the resolver listens");
                }
            }
        });
        Self { address, asked }
    }

    /// Returns how often the name's A records were asked for.
    pub(crate) fn asked(&self, name: &str) -> usize {
        let asked = self.asked.lock().expect("not poisoned");
        asked.get(&(name.to_owned(), RecordType::A)).copied().unwrap_or_default()
    }

    /// Returns a resolver that asks this server alone, with the search domain `search.test`.
    pub(crate) fn resolver(&self, hosts_file: &str) -> Resolver {
        let mut connection = ConnectionConfig::udp();
        connection.port = self.address.port();
        let server = NameServerConfig::new(self.address.ip(), true, vec![connection]);
        let search = vec![Name::from_ascii("search.test.").expect("a name")];
        let mut options = ResolverOpts::default();
        // As Kubernetes sets it.
        options.ndots = 5;
        let mut hosts = Hosts::default();
        hosts.read_hosts_conf(hosts_file.as_bytes()).expect("a hosts file");
        Resolver::new(ResolverConfig::from_parts(None, search, vec![server]), options, hosts).expect("a resolver")
    }
}

fn respond(
    zone: &HashMap<String, Entry>,
    counts: &Mutex<HashMap<(String, RecordType), usize>>,
    query: &Message,
) -> Option<Message> {
    let question = query.queries.first().expect("a question").clone();
    let name = question.name().to_ascii().trim_end_matches('.').to_ascii_lowercase();
    let turn = {
        let mut counts = counts.lock().expect("not poisoned");
        let count = counts.entry((name.clone(), question.query_type())).or_default();
        *count += 1;
        *count - 1
    };
    let mut answer = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
    answer.metadata.recursion_available = true;
    answer.add_query(question.clone());
    let mut owner = question.name().clone();
    let addresses = match zone.get(&name) {
        None => {
            answer.metadata.response_code = ResponseCode::NXDomain;
            return Some(answer);
        }
        Some(Entry::Fails) => {
            answer.metadata.response_code = ResponseCode::ServFail;
            return Some(answer);
        }
        Some(Entry::Silent) => return None,
        Some(Entry::Addresses(addresses)) => addresses,
        Some(Entry::Turns(turns)) => &turns[turn.min(turns.len() - 1)],
        Some(Entry::Alias(target, addresses)) => {
            let target = Name::from_ascii(format!("{target}.")).expect("a name");
            answer.add_answer(Record::from_rdata(owner, 0, RData::CNAME(CNAME(target.clone()))));
            owner = target;
            addresses
        }
    };
    for address in addresses.iter().map(|address| RData::from(*address)) {
        if address.record_type() == question.query_type() {
            answer.add_answer(Record::from_rdata(owner.clone(), 0, address));
        }
    }
    Some(answer)
}

/// Returns TLS settings that believe nobody.
pub(crate) fn no_tls() -> rustls::ClientConfig {
    trusting(&[])
}

/// Returns TLS settings that believe these authorities alone.
pub(crate) fn trusting(authorities: &[rustls::pki_types::CertificateDer<'static>]) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.clone()).expect("a certificate");
    }
    rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// Returns a client whose every connection leads to `origin`; `public.test` and names below are public.
pub(crate) async fn client(origin: SocketAddr, given: &[&str]) -> (Egress, Arc<RecordingDial>) {
    let zone: Vec<(&'static str, Entry)> =
        ["public.test", "a.test", "b.test"].into_iter().map(|name| (name, addresses(&[PUBLIC]))).collect();
    let name_server = NameServer::start(&zone).await;
    let dial = RecordingDial::to(origin);
    let network = Network { resolver: name_server.resolver(""), dial: dial.clone(), tls: no_tls() };
    (Egress::with_network(&args(given), network), dial)
}

/// Returns loopback with a port at which nobody listens.
pub(crate) fn nobody() -> SocketAddr {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("an address")
}
