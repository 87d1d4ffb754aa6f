//! The client of the API server: every call ends, also when the server asks everybody to come back later.
//!
//! kube's own retries go on for up to half an hour (15 of them, each up to 1000 s), and the reconcile that waits
//! for one holds its place all the while. Without any, a server that is overloaded for a second would cost every
//! batch a failed reconcile. So there are a few, and what still fails then comes again by its caller: a
//! reconcile by the error policy, a watch by its backoff.

use std::time::{Duration, Instant};

use http::header::RETRY_AFTER;
use http::{Request, Response, StatusCode};
use kube::client::{Body, ClientBuilder, DynBody};
use kube::{Client, Config};
use tower::buffer::Buffer;
use tower::layer::layer_fn;
use tower::{BoxError, Service, ServiceExt};

/// Longest wait for the head of an answer; what a watch or a list says after it is not bounded here.
const ANSWER: Duration = Duration::from_secs(15);
/// A call is repeated for this long at most: well below the time that a reconcile has.
const PATIENCE: Duration = Duration::from_secs(25);
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(8);
/// Calls that wait for a place in the client.
const WAITING_CALLS: usize = 1_024;

type Answer = Response<Box<DynBody>>;

/// Returns the client of the surrounding cluster or of the kubeconfig.
pub(super) async fn connect() -> anyhow::Result<Client> {
    Ok(build(Config::infer().await?)?)
}

/// Returns a client for a configuration.
pub fn build(mut config: Config) -> Result<Client, kube::Error> {
    config.default_retry = false;
    let patient = layer_fn(|service| {
        let service = Buffer::new(service, WAITING_CALLS);
        tower::service_fn(move |request| call(service.clone(), request))
    });
    Ok(ClientBuilder::try_from(config)?.with_layer(&patient).build())
}

/// Calls until the server is not overloaded any more, or the patience is at its end.
async fn call<S>(service: S, request: Request<Body>) -> Result<Answer, BoxError>
where
    S: Service<Request<Body>, Response = Answer, Error = BoxError> + Clone,
{
    let (parts, body) = request.into_parts();
    let until = Instant::now() + PATIENCE;
    let mut wait = FIRST_WAIT;
    let mut body = Some(body);
    loop {
        let again = body.as_ref().and_then(Body::try_clone);
        let Some(sent) = body.take() else { return Err("the body of a request was sent already".into()) };
        let answer = tokio::time::timeout(ANSWER, service.clone().oneshot(Request::from_parts(parts.clone(), sent)));
        let answer = answer.await.map_err(|_| format!("no answer within {} s", ANSWER.as_secs()))??;
        // Up to a half more, so that those who were sent away together do not come back together.
        let pause = asked_wait(&answer).unwrap_or_default().max(wait).mul_f64(1.0 + fastrand::f64() / 2.0);
        if !is_overloaded(answer.status()) || again.is_none() || Instant::now() + pause > until {
            return Ok(answer);
        }
        tokio::time::sleep(pause).await;
        wait = (wait * 2).min(LONGEST_WAIT);
        body = again;
    }
}

fn is_overloaded(status: StatusCode) -> bool {
    matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT)
}

fn asked_wait(answer: &Answer) -> Option<Duration> {
    answer.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok().map(Duration::from_secs)
}
