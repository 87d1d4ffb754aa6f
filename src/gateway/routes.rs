//! Every route of the API: its method and path, the right that it needs, its handler and its documentation.
//! The router, the decision about a request and the OpenAPI document are made from this one table.

use axum::routing::{MethodRouter, delete, get, post};

use super::auth::guard::Access;
use super::auth::session::{self, SessionView};
use super::cancel::{self, Cancelled};
use super::delete::{self as deletion, Deleted};
use super::deliveries::{self, DeliveryLog, Entry};
use super::error::Code;
use super::list::{self, BatchList};
use super::openapi::operation::{Operation, integer, parameter, query, string, words};
use super::openapi::upload;
use super::products::{self, ProductList};
use super::retry::{self, Accepted};
use super::state::AppState;
use super::submit::{self, DryRun, Submitted};
use super::view::BatchView;
use super::{events, image, openapi, page, reference, report, status};

/// One method of one path.
pub struct Route {
    /// Method, in capitals.
    pub method: &'static str,
    /// Path with its parameters, as axum writes them.
    pub path: &'static str,
    /// Who may ask.
    pub access: Access,
    pub(crate) handler: MethodRouter<AppState>,
    pub(crate) operation: Operation,
}

/// Returns all routes.
#[must_use]
pub fn routes() -> Vec<Route> {
    let tables = batches().into_iter().chain(batch()).chain(webhooks());
    tables.chain(files()).chain(sessions()).chain(documentation()).collect()
}

fn route(
    method: &'static str,
    path: &'static str,
    access: Access,
    handler: MethodRouter<AppState>,
    operation: Operation,
) -> Route {
    let operation = operation.codes(&[Code::TooManyRequests, Code::Overloaded]);
    let operation = match access {
        Access::Public => operation,
        Access::Verb(_) => operation.secured().codes(&REFUSED),
        Access::Image(_) => operation.secured().codes(&REFUSED[..1]).codes(&[Code::ClusterUnavailable]),
    };
    Route { method, path, access, handler, operation }
}

/// What everybody may be answered who has not the right that is needed.
const REFUSED: [Code; 4] = [Code::Unauthenticated, Code::Forbidden, Code::CsrfRejected, Code::ClusterUnavailable];

/// What every request about one batch may be answered.
const OF_BATCH: [Code; 5] = [
    Code::InvalidParameter,
    Code::NamespaceNotEnabled,
    Code::BatchNotFound,
    Code::RecordsUnavailable,
    Code::ClusterUnavailable,
];

fn batches() -> [Route; 2] {
    let submit = upload::parameters(Operation::new("submitBatch", "batches", "Upload a CSV of products"))
        .detail("The answer comes once the CSV is stored and the ImageBatch exists: from then on nothing is lost.")
        .answer::<DryRun>(200, "With `dryRun=true`: the CSV would be accepted; nothing is kept")
        .answer::<Submitted>(202, "The batch is accepted; `Location` is its status")
        .codes(&[
            Code::InvalidParameter,
            Code::MalformedRequest,
            Code::BodyIncomplete,
            Code::NamespaceNotEnabled,
            Code::BodyTooSlow,
            Code::BatchDeleting,
            Code::BodyTooLarge,
            Code::UnsupportedMediaType,
            Code::InvalidSource,
            Code::InvalidBatch,
            Code::IdempotencyKeyReused,
            Code::TooManyRowsInFlight,
            Code::TooManyBatches,
            Code::TooManyUploads,
            Code::NotReady,
            Code::StorageUnavailable,
            Code::ClusterUnavailable,
        ]);
    let list = Operation::new("listBatches", "batches", "List batches, the youngest first")
        .detail("A page may hold fewer batches than `limit`; go on until there is no `nextCursor`.")
        .with(query("limit", "Most batches of the page; 50 by default", integer(1, list::MAX_LIMIT.into())))
        .with(query("cursor", "`nextCursor` of the page before", string(1, 128)))
        .with(query("state", "Words of `status`, separated by commas", string(1, 1_300)))
        .with(query("finished", "Whether they have ended", words(&["true", "false"])))
        .with(query("name", "What id or display name begins with, in either case", string(1, 128)))
        .with(query("createdSince", "The earliest time of creation", time()))
        .namespace()
        .answer::<BatchList>(200, "Batches")
        .codes(&[Code::InvalidParameter, Code::NamespaceNotEnabled, Code::RecordsUnavailable]);
    [
        route("POST", "/v1/batches", Access::Verb("create"), post(submit::submit), submit),
        route("GET", "/v1/batches", Access::Verb("list"), get(list::list), list),
    ]
}

fn batch() -> [Route; 6] {
    let of = |id, summary| Operation::new(id, "batches", summary).id().namespace().codes(&OF_BATCH);
    let status = of("getBatch", "Show a batch")
        .with(parameter("header", "If-None-Match", "An `ETag` that is known already", string(0, 1_024)))
        .with(parameter(
            "header",
            "Prefer",
            "`wait=N`: the answer may come up to N seconds later, at most 30: with `If-None-Match` once the batch has \
             changed, else once it has ended",
            string(0, 256),
        ))
        .answer::<BatchView>(200, "The batch, with an `ETag`")
        .empty(304, "It is still as the `ETag` says");
    let products = of("listProducts", "List a batch's products with what became of their images")
        .detail(
            "In the order of the CSV; none until the CSV is read. A page may hold fewer rows than `limit`, even none; \
             go on until there is no `nextCursor`.",
        )
        .with(query("limit", "Most rows of the page; 100 by default", integer(1, products::MAX_LIMIT.into())))
        .with(query("cursor", "`nextCursor` of the page before", string(1, 128)))
        .with(query(
            "outcome",
            "Only rows with such an image",
            words(&["Pending", "Compressed", "KeptOriginal", "Failed"]),
        ))
        .answer::<ProductList>(200, "Products")
        .codes(&[Code::StorageUnavailable]);
    let events = of("watchBatch", "Be told of a batch's changes")
        .detail(
            "Server-sent events: `status` with the batch at once and at each change, `finished` with the batch at its \
             end, `deleted` where it goes before. Streams end after 15 minutes, and with the gateway: come again \
             with `Last-Event-ID`. A finished batch that was seen is answered 204.",
        )
        .with(parameter("header", "Last-Event-ID", "Id of the last event that was seen", string(0, 128)))
        .with(query("lastEventId", "The same, for clients that cannot set the header", string(0, 128)))
        .text(200, "text/event-stream", "Events")
        .empty(204, "The batch has ended, and that was seen")
        .codes(&[Code::TooManyStreams]);
    let changes = [Code::BatchDeleting, Code::NotFinished, Code::AlreadyFinished, Code::NothingToRetry];
    let cancel = of("cancelBatch", "Stop a batch; what is done is kept and reported")
        .body::<cancel::Request>(false)
        .answer::<Cancelled>(202, "It is being stopped, or was before")
        .codes(&[changes[0], changes[2], Code::MalformedRequest, Code::BodyTooSlow, Code::InvalidBatch]);
    let retry = of("retryBatch", "Fetch a batch's failed images again, by a new batch")
        .with(upload::idempotency_key())
        .answer::<Accepted>(202, "The new batch; `Location` is its status")
        .codes(&[
            changes[0],
            changes[1],
            changes[3],
            Code::AlreadyRetried,
            Code::TooManyRowsInFlight,
            Code::TooManyBatches,
            Code::IdempotencyKeyReused,
            Code::InvalidBatch,
        ]);
    let deletion =
        of("deleteBatch", "Delete a batch's ImageBatch; with `deletionPolicy: Delete` also all that it stored")
            .answer::<Deleted>(202, "It is being deleted")
            .codes(&[Code::InvalidBatch]);
    [
        route("GET", "/v1/batches/{id}", Access::Verb("get"), get(status::show), status),
        route("DELETE", "/v1/batches/{id}", Access::Verb("delete"), delete(deletion::delete), deletion),
        route("GET", "/v1/batches/{id}/products", Access::Verb("get"), get(products::list), products),
        route("GET", "/v1/batches/{id}/events", Access::Verb("get"), get(events::events), events),
        route("POST", "/v1/batches/{id}/cancel", Access::Verb("patch"), post(cancel::cancel), cancel),
        route("POST", "/v1/batches/{id}/retry", Access::Verb("create"), post(retry::retry), retry),
    ]
}

fn webhooks() -> [Route; 3] {
    let of = |id, summary| Operation::new(id, "webhooks", summary).id().namespace().codes(&OF_BATCH);
    let list = of("listDeliveries", "Show what was told to a batch's webhook").answer::<DeliveryLog>(200, "Deliveries");
    let refused = [Code::NoWebhook, Code::TooManyDeliveries];
    let redeliver = of("redeliver", "Send a batch's event again").answer::<Entry>(202, "It is sent").codes(&refused);
    let test = of("testWebhook", "Send an event of the type `imagebatch.test`")
        .answer::<Entry>(202, "It is sent")
        .codes(&refused);
    [
        route("GET", "/v1/batches/{id}/deliveries", Access::Verb("get"), get(deliveries::list), list),
        route(
            "POST",
            "/v1/batches/{id}/deliveries/redeliver",
            Access::Verb("patch"),
            post(deliveries::redeliver),
            redeliver,
        ),
        route("POST", "/v1/batches/{id}/deliveries/test", Access::Verb("patch"), post(deliveries::test), test),
    ]
}

fn files() -> [Route; 3] {
    let report = |id, summary| {
        Operation::new(id, "files", summary)
            .id()
            .namespace()
            .with(query(
                "raw",
                "Without the apostrophes that keep spreadsheets from running formulas",
                words(&["true", "false"]),
            ))
            .stored("text/csv", "The report")
            .codes(&OF_BATCH)
            .codes(&[Code::NoReport, Code::NotFinished, Code::StorageUnavailable])
    };
    let image = Operation::new("getImage", "files", "Fetch a stored image")
        .detail("Images never change: their keys are named by their content. Some installations redirect to storage.")
        .with(parameter("path", "key", "The key, with its slashes", string(1, 1_024)))
        .stored("image/*", "The image")
        .empty(307, "The image is at `Location` for a while")
        .codes(&[Code::ImageNotFound, Code::StorageUnavailable]);
    [
        route(
            "GET",
            "/v1/batches/{id}/output.csv",
            Access::Verb("get"),
            get(report::output_csv),
            report("getOutput", "Download the CSV with the new URLs"),
        ),
        route(
            "GET",
            "/v1/batches/{id}/failed.csv",
            Access::Verb("get"),
            get(report::failed_csv),
            report("getFailed", "Download the rows with failed images"),
        ),
        route("GET", "/images/{*key}", Access::Image("get"), get(image::image), image),
    ]
}

fn sessions() -> [Route; 3] {
    let of = |id, summary| Operation::new(id, "session", summary);
    let show = of("getSession", "Show who is signed in")
        .answer::<SessionView>(200, "Who it is")
        .codes(&[Code::ClusterUnavailable]);
    let sign_in = of("signIn", "Sign in by a token or an API key, for a browser")
        .body::<session::SignIn>(true)
        .answer::<SessionView>(201, "The session's cookie is set")
        .codes(&[
            Code::InvalidParameter,
            Code::Unauthenticated,
            Code::CsrfRejected,
            Code::NotFound,
            Code::BodyTooSlow,
            Code::BodyTooLarge,
            Code::UnsupportedMediaType,
            Code::ClusterUnavailable,
        ]);
    let sign_out = of("signOut", "Sign out").empty(204, "The cookie is taken back").codes(&[Code::CsrfRejected]);
    [
        route("GET", "/v1/session", Access::Public, get(session::show), show),
        route("POST", "/v1/session", Access::Public, post(session::sign_in), sign_in),
        route("DELETE", "/v1/session", Access::Public, delete(session::sign_out), sign_out),
    ]
}

fn documentation() -> [Route; 5] {
    let of = |id, summary| Operation::new(id, "documentation", summary);
    [
        route(
            "GET",
            "/",
            Access::Public,
            get(page::index),
            of("getPage", "The web page").text(200, "text/html", "A page").empty(304, "It is still as the `ETag` says"),
        ),
        route(
            "GET",
            "/assets/{name}",
            Access::Public,
            get(page::asset),
            of("getAsset", "A file of the web page")
                .with(parameter("path", "name", "Its name", string(1, 256)))
                .text(200, "*/*", "The file")
                .empty(304, "It is still as the `ETag` says")
                .codes(&[Code::NotFound]),
        ),
        route(
            "GET",
            "/openapi.json",
            Access::Public,
            get(openapi::serve),
            of("getOpenApi", "This document").text(200, "application/json", "The OpenAPI document"),
        ),
        route(
            "GET",
            "/docs",
            Access::Public,
            get(reference::page),
            of("getReference", "This document, to be read").text(200, "text/html", "A page"),
        ),
        route(
            "GET",
            "/docs/style.css",
            Access::Public,
            get(reference::style),
            of("getReferenceStyle", "The page's style").text(200, "text/css", "A style sheet"),
        ),
    ]
}

fn time() -> serde_json::Value {
    serde_json::json!({ "type": "string", "format": "date-time" })
}
