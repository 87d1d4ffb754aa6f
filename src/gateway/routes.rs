//! Every route of the API: its method and path, the right that it needs and its handler. The router and the
//! decision about a request are made from this one table.

use axum::routing::{MethodRouter, delete, get, post};

use super::auth::guard::Access;
use super::auth::session;
use super::state::AppState;
use super::{cancel, deliveries, image, report, retry, status, submit};

/// One method of one path.
pub struct Route {
    /// Method, in capitals.
    pub method: &'static str,
    /// Path with its parameters, as axum writes them.
    pub path: &'static str,
    /// Who may ask.
    pub access: Access,
    pub(crate) handler: MethodRouter<AppState>,
}

/// Returns all routes.
#[must_use]
pub fn routes() -> Vec<Route> {
    use Access::{Image, Public, Verb};
    let route = |method, path, access, handler| Route { method, path, access, handler };
    vec![
        route("POST", "/v1/batches", Verb("create"), post(submit::submit)),
        route("GET", "/v1/batches/{id}", Verb("get"), get(status::show)),
        route("GET", "/v1/batches/{id}/deliveries", Verb("get"), get(deliveries::list)),
        route("POST", "/v1/batches/{id}/deliveries/redeliver", Verb("patch"), post(deliveries::redeliver)),
        route("POST", "/v1/batches/{id}/deliveries/test", Verb("patch"), post(deliveries::test)),
        route("POST", "/v1/batches/{id}/retry", Verb("create"), post(retry::retry)),
        route("POST", "/v1/batches/{id}/cancel", Verb("patch"), post(cancel::cancel)),
        route("GET", "/v1/batches/{id}/output.csv", Verb("get"), get(report::output_csv)),
        route("GET", "/v1/batches/{id}/failed.csv", Verb("get"), get(report::failed_csv)),
        route("GET", "/images/{*key}", Image("get"), get(image::image)),
        route("GET", "/v1/session", Public, get(session::show)),
        route("POST", "/v1/session", Public, post(session::sign_in)),
        route("DELETE", "/v1/session", Public, delete(session::sign_out)),
    ]
}
