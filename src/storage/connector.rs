//! The HTTP client below the storage clients' own retries. A certificate that is not trusted is not tried again: that would
//! hide for minutes why nothing works. By a failpoint each request can fail, also after it was carried out.

use std::error::Error;
use std::io;
use std::pin::Pin;

use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
};

use crate::failpoint;

/// Makes the usual client, and looks at its errors.
#[derive(Debug)]
pub(super) struct Connector;

#[derive(Debug)]
struct Service(HttpClient);

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Service(ReqwestConnector::default().connect(options)?)))
    }
}

impl HttpService for Service {
    // What the trait's attribute macro writes for an async function.
    fn call<'this, 'call>(
        &'this self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'call>>
    where
        'this: 'call,
        Self: 'call,
    {
        Box::pin(async move {
            let answer = failpoint::around("storage.request", self.0.execute(request)).await;
            // Errors of this kind are final.
            answer.map_err(
                |error| {
                    if is_untrusted(&error) { HttpError::new(HttpErrorKind::Unknown, error) } else { error }
                },
            )
        })
    }
}

/// Returns whether the server's certificate was refused.
fn is_untrusted(error: &(dyn Error + 'static)) -> bool {
    if let Some(error) = error.downcast_ref::<rustls::Error>() {
        return matches!(error, rustls::Error::InvalidCertificate(_));
    }
    // What an I/O error holds is not its source.
    let held = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    held.map(|it| it as &(dyn Error + 'static)).or_else(|| error.source()).is_some_and(is_untrusted)
}
