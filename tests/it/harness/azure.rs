//! Azurite, Microsoft's own emulator of Azure Blob Storage: one container for each test.

use axum::http::{Method, Request};
use object_store::azure::{AzureAccessKey, AzureAuthorizer, AzureCredential, MicrosoftAzure, MicrosoftAzureBuilder};
use object_store::client::HttpRequestBody;

/// The emulator's well-known account and key.
pub(crate) const ACCOUNT: &str = "devstoreaccount1";
pub(crate) const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// Returns the URL of the account, as `--azure-endpoint` takes it.
pub(crate) fn endpoint() -> String {
    let server = std::env::var("TEST_AZURITE").expect("tests/run it sets it");
    format!("{server}/{ACCOUNT}")
}

/// Returns a client of a container.
pub(super) fn client(container: &str) -> MicrosoftAzure {
    MicrosoftAzureBuilder::new()
        .with_account(ACCOUNT)
        .with_access_key(KEY)
        .with_container_name(container)
        .with_endpoint(endpoint())
        .with_allow_http(true)
        .build()
        .expect("storage arguments")
}

/// Makes a container.
pub(crate) async fn make_container(name: &str) {
    let url = format!("{}/{name}?restype=container", endpoint());
    let request = Request::builder().method(Method::PUT).uri(&url).header("content-length", "0");
    let mut request = request.body(HttpRequestBody::empty()).expect("a request");
    let credential = AzureCredential::AccessKey(AzureAccessKey::try_new(KEY).expect("a key"));
    AzureAuthorizer::new(&credential, ACCOUNT).try_authorize(&mut request).expect("a signature");
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let answer = client.put(&url).headers(request.headers().clone()).send().await.expect("Azurite answers");
    assert_eq!(answer.status(), 201, "{}", answer.text().await.unwrap_or_default());
}
