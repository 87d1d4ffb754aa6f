//! A user of one namespace neither sees nor changes anything of another, whatever is asked; who is revoked is out.

use kube::ResourceExt;
use kube::api::{Api, ListParams};
use reqwest::{Method, Response};
use serde_json::{Value, json};

use imagebatch::api::image_batch::ImageBatch;
use imagebatch::gateway::auth::guard::Access;
use imagebatch::gateway::routes::{Route, routes};

use super::surroundings::{World, ask};
use crate::gateway::client::{Asker, CSV, FORM, form, json, problem};
use crate::gateway::surroundings::until;

const SHA: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Returns the methods by which a route is asked: what answers GET answers HEAD too.
fn methods(route: &Route) -> Vec<Method> {
    let method: Method = route.method.parse().expect("a method");
    if method == Method::GET { vec![method, Method::HEAD] } else { vec![method] }
}

/// Asserts that a request is refused with this code; HEAD has no body to tell it.
async fn assert_refused(response: Response, method: &Method, status: u16, code: &str) -> Value {
    if *method == Method::HEAD {
        assert_eq!(response.status(), status, "HEAD {}", response.url());
        return Value::Null;
    }
    problem(response, status, code).await
}

#[tokio::test]
async fn nothing_of_another_namespace_is_seen_or_changed() {
    let world = World::start().await;
    let tokens = world.tokens().await;
    let (url, _gateway) = world.private_gateway().await;
    let gateway = Asker::new(&url);
    let (a, b) = (world.harness.namespace.clone(), world.other.clone());
    // Known to the cluster, to the records and to this gateway's cache.
    let (open, _open) = world.gateway(&["--authentication=none"]).await;
    let made = Asker::new(&open).upload(&format!("?namespace={b}"), "text/csv", CSV).await;
    let theirs = json(made).await["id"].as_str().expect("an id").to_owned();
    let image = world.harness.storage.keys().batch(&b, "root").image(SHA, "https://shop.example/1.jpg", "jpg");
    let put = world.harness.storage.put_image(&image, "image/jpeg", b"bytes".as_slice().into()).await;
    put.expect("storage answers");

    for tokens in &tokens {
        let token = &tokens.authorized;
        for route in routes() {
            for method in methods(&route) {
                let case = format!("{method} {} by {}", route.path, tokens.mode);
                let of = |id: &str| format!("{}?namespace={b}", route.path.replace("{id}", id));
                match route.access {
                    Access::Public => {}
                    Access::Verb(_) if route.path.contains("{id}") => {
                        let there = ask(&gateway, method.clone(), &of(&theirs), token).await;
                        let there = assert_refused(there, &method, 404, "BatchNotFound").await;
                        let absent = ask(&gateway, method.clone(), &of("absent"), token).await;
                        let absent = assert_refused(absent, &method, 404, "BatchNotFound").await;
                        let there = there["detail"].as_str().map(|it| it.replace(&theirs, "absent"));
                        assert_eq!(there.as_deref(), absent["detail"].as_str(), "{case}: what exists is told");
                        // Nor is it found by way of a namespace that is allowed.
                        let path = of(&theirs).replace(&b, &a);
                        let elsewhere = ask(&gateway, method.clone(), &path, token).await;
                        assert_refused(elsewhere, &method, 404, "BatchNotFound").await;
                    }
                    Access::Verb(_) => {
                        let refused = ask(&gateway, method.clone(), &of(""), token).await;
                        assert_refused(refused, &method, 403, "Forbidden").await;
                    }
                    Access::Image(_) => {
                        let path = route.path.replace("{*key}", &image);
                        for range in [None, Some("bytes=0-1"), Some("bytes=900-")] {
                            let mut request = gateway.request(method.clone(), &path).bearer_auth(token);
                            if let Some(range) = range {
                                request = request.header("range", range);
                            }
                            let refused = request.send().await.expect("the gateway answers");
                            assert!(!refused.headers().contains_key("etag"), "{case}: {:?}", refused.headers());
                            assert_refused(refused, &method, 404, "ImageNotFound").await;
                        }
                    }
                }
            }
        }
        let upload = |path: String, kind: &'static str, body: Vec<u8>| {
            gateway.request(Method::POST, &path).bearer_auth(token).header("content-type", kind).body(body).send()
        };
        let refused = upload(format!("/v1/batches?namespace={b}"), "text/csv", CSV.into()).await;
        problem(refused.expect("an answer"), 403, "Forbidden").await;
        // The namespace that a form names is decided about as well.
        let parts = form(&[("namespace", b.as_bytes()), ("file", CSV.as_bytes())]);
        let refused = upload("/v1/batches".to_owned(), FORM, parts.to_vec()).await;
        problem(refused.expect("an answer"), 403, "Forbidden").await;
        let nowhere = upload("/v1/batches?namespace=nowhere".to_owned(), "text/csv", CSV.into()).await;
        problem(nowhere.expect("an answer"), 403, "Forbidden").await;

        let accepted = upload(format!("/v1/batches?namespace={a}"), "text/csv", CSV.into()).await.expect("an answer");
        assert_eq!(accepted.status(), 202);
        let location = accepted.headers()["location"].to_str().expect("text").to_owned();
        let shown = json(ask(&gateway, Method::GET, &location, token).await).await;
        assert_eq!(shown["namespace"], a);
        let listed = json(ask(&gateway, Method::GET, &format!("/v1/batches?namespace={a}"), token).await).await;
        let listed: Vec<&Value> = listed["batches"].as_array().expect("a list").iter().map(|it| &it["id"]).collect();
        assert!(listed.contains(&&shown["id"]) && !listed.contains(&&json!(theirs)), "{listed:?}");
    }
    let batches: Api<ImageBatch> = Api::namespaced(world.harness.client.clone(), &b);
    let left = batches.list(&ListParams::default()).await.expect("the API server answers").items;
    assert_eq!(left.iter().map(ResourceExt::name_any).collect::<Vec<_>>(), [theirs]);
    assert!(left[0].spec.cancel.is_none() && left[0].metadata.deletion_timestamp.is_none());
}

#[tokio::test]
async fn a_revoked_key_stops_working() {
    let world = World::start().await;
    let [_, _, tokens] = world.tokens().await;
    let (url, _gateway) = world.private_gateway().await;
    let gateway = Asker::new(&url);
    // It goes to the key's namespace.
    problem(ask(&gateway, Method::GET, "/v1/batches/absent", &tokens.authorized).await, 404, "BatchNotFound").await;
    world.revoke().await;
    until("the key is refused", async || {
        ask(&gateway, Method::GET, "/v1/batches/absent", &tokens.authorized).await.status() == 401
    })
    .await;
}
