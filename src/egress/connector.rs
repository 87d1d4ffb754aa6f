//! Name, check, dial: the one place where connections are opened.
//!
//! All addresses of a host are checked right before the first is dialled, and only those are dialled: a
//! name that changes its answer between check and connection gains nothing. One bad address spoils the
//! name, as a mixed answer is how rebinding begins. Hosts that are addresses go the same way.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use http::Uri;
use http::uri::Scheme;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use super::error::FetchError;
use super::resolver::Resolver;
use super::target::Rules;

/// Opens sockets. Tests count them, and let public addresses lead to a server of theirs.
pub trait Dial: std::fmt::Debug + Send + Sync {
    /// Connects to an address that was checked.
    fn dial(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<TcpStream>>;
}

/// Opens the system's sockets.
#[derive(Debug)]
pub struct SystemDial;

impl Dial for SystemDial {
    fn dial(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<TcpStream>> {
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(stream)
        })
    }
}

/// How long an address has before the next is tried beside it (RFC 8305 5: 250 ms).
const HEAD_START: Duration = Duration::from_millis(250);

/// Resolves, checks and dials.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    pub(super) rules: Arc<Rules>,
    pub(super) resolver: Resolver,
    pub(super) dial: Arc<dyn Dial>,
}

impl Connector {
    async fn connect(self, uri: Uri) -> Result<TokioIo<TcpStream>, FetchError> {
        let host = uri.host().unwrap_or_default();
        let default = if uri.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
        let port = uri.port_u16().unwrap_or(default);
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let addresses = match bare.parse::<IpAddr>() {
            Ok(address) => vec![address],
            Err(_) => self.resolver.resolve(host).await?,
        };
        if let Some(bad) = addresses.iter().find(|it| !self.rules.permits(host, **it)) {
            // The address goes into the log alone: reports are read by people who could otherwise ask for
            // inner names to learn their addresses.
            tracing::debug!(host, address = %bad, "address refused");
            return Err(FetchError::AddressForbidden(host.to_owned()));
        }
        self.dial_first(alternate(addresses), port).await.map(TokioIo::new)
    }

    /// Dials the addresses one after the other, each with a head start, and takes the first that answers.
    async fn dial_first(&self, addresses: Vec<IpAddr>, port: u16) -> Result<TcpStream, FetchError> {
        let mut waiting = addresses.into_iter();
        let mut dialling = FuturesUnordered::new();
        let mut last = String::new();
        loop {
            match waiting.next() {
                Some(address) => dialling.push(self.dial.dial(SocketAddr::new(address, port))),
                None if dialling.is_empty() => return Err(FetchError::Connect(last)),
                None => {}
            }
            let more = waiting.len() > 0;
            tokio::select! {
                Some(result) = dialling.next() => match result {
                    Ok(stream) => return Ok(stream),
                    Err(error) => last = error.to_string(),
                },
                () = tokio::time::sleep(HEAD_START), if more => {}
            }
        }
    }
}

/// Orders addresses by turns of their family, the resolver's first in front (RFC 8305 4).
fn alternate(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let first_is_v6 = addresses.first().is_some_and(IpAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|it| it.is_ipv6() == first_is_v6);
    let mut ordered = Vec::with_capacity(first.len() + second.len());
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    loop {
        let pair = (first.next(), second.next());
        if pair == (None, None) {
            return ordered;
        }
        ordered.extend([pair.0, pair.1].into_iter().flatten());
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = FetchError;
    type Future = BoxFuture<'static, Result<Self::Response, FetchError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), FetchError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

/// A connector whose connections are ready within a limit, TLS included.
#[derive(Debug, Clone)]
pub(super) struct Timed<C> {
    pub(super) connector: C,
    pub(super) limit: Duration,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl<C> Service<Uri> for Timed<C>
where
    C: Service<Uri>,
    C::Error: Into<BoxError>,
    C::Future: Send + 'static,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<C::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.connector.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (limit, connecting) = (self.limit, self.connector.call(uri));
        Box::pin(async move {
            match tokio::time::timeout(limit, connecting).await {
                Ok(result) => result.map_err(Into::into),
                Err(_) => Err(FetchError::Timeout { what: "connection", limit }.into()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns() {
        let addresses: Vec<IpAddr> =
            ["2606::1", "2606::2", "1.1.1.1", "2606::3", "1.1.1.2"].iter().map(|it| it.parse().expect("one")).collect();
        let ordered: Vec<String> = alternate(addresses).iter().map(ToString::to_string).collect();
        assert_eq!(ordered, ["2606::1", "1.1.1.1", "2606::2", "1.1.1.2", "2606::3"]);
    }
}
