//! The failpoint below the S3 client's own retries: each request of it can fail, also after it was
//! carried out. Release builds are without it.

use std::pin::Pin;

use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
};

use crate::failpoint;

/// Makes the usual client, with a failpoint around its requests.
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
        Box::pin(failpoint::around("s3.request", self.0.execute(request)))
    }
}
