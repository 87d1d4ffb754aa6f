//! Each way to authenticate, each kind of credential, each route.

use imagebatch::gateway::auth::guard::Access;
use imagebatch::gateway::routes::{Route, routes};
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::Value;

use super::surroundings::{MALFORMED, World};
use crate::gateway::client::{Asker, CSV};

const PRODUCTS: &str = r#"
source:
  products:
  - {serialNumber: "1", name: Bowl, imageUrls: ["https://shop.example/1.jpg"]}
"#;
const SHA: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Caller {
    Unknown,
    Unauthorized,
    Authorized,
}

/// What all of it is asked of.
struct Target {
    world: World,
    image: String,
}

impl Target {
    async fn start() -> Self {
        let world = World::start().await;
        let keys = world.harness.storage.keys().batch(&world.harness.namespace, "root");
        let image = keys.image(SHA, "https://shop.example/1.jpg", "jpg");
        let put = world.harness.storage.put_image(&image, "image/jpeg", b"bytes".as_slice().into()).await;
        put.expect("storage answers");
        Self { world, image }
    }

    /// Asks a route about a batch that is new; returns status, code and whether there was a challenge.
    async fn ask(&self, gateway: &Asker, route: &Route, token: Option<&str>) -> (u16, String, bool) {
        let harness = &self.world.harness;
        let mut path = route.path.replace("{*key}", &self.image);
        if path.contains("{id}") {
            let name = format!("b-{}", uuid::Uuid::now_v7().simple());
            let name = &name[..40.min(name.len())];
            harness.create(name, PRODUCTS).await;
            path = path.replace("{id}", name);
        }
        if let Access::Verb(_) = route.access {
            path = format!("{path}?namespace={}", harness.namespace);
        }
        let mut request = gateway.request(Method::from_bytes(route.method.as_bytes()).expect("a method"), &path);
        if route.path == "/v1/batches" && route.method == "POST" {
            request = request.header(CONTENT_TYPE, "text/csv").body(CSV);
        }
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.expect("the gateway answers");
        let (status, challenge) = (response.status().as_u16(), response.headers().contains_key("www-authenticate"));
        let code = if status < 400 {
            String::new()
        } else {
            let problem: Value = response.json().await.expect("a problem document");
            problem["code"].as_str().expect("a code").to_owned()
        };
        (status, code, challenge)
    }

    async fn check(&self, gateway: &Asker, mode: &str, token: (&str, Option<&str>), caller: Caller) {
        for route in routes() {
            let (status, code, challenge) = self.ask(gateway, &route, token.1).await;
            let case = format!("{mode}, {}: {} {}: {status} {code}", token.0, route.method, route.path);
            let is_named = route.path.contains("{id}");
            match (route.access, caller) {
                (Access::Public, _) | (_, Caller::Authorized) => {
                    let denials = ["Unauthenticated", "Forbidden", "CsrfRejected", "BatchNotFound", "ImageNotFound"];
                    assert!(!denials.contains(&code.as_str()) && status < 500, "{case}");
                }
                (_, Caller::Unknown) => {
                    assert_eq!((status, code.as_str(), challenge), (401, "Unauthenticated", true), "{case}");
                }
                (Access::Image(_), Caller::Unauthorized) => assert_eq!(code, "ImageNotFound", "{case}"),
                (Access::Verb(_), Caller::Unauthorized) if is_named => assert_eq!(code, "BatchNotFound", "{case}"),
                (Access::Verb(_), Caller::Unauthorized) => {
                    assert_eq!((status, code.as_str()), (403, "Forbidden"), "{case}");
                }
            }
        }
    }
}

#[tokio::test]
async fn each_route_has_a_decision_for_each_caller() {
    let target = Target::start().await;
    let tokens = target.world.tokens().await;
    let (url, _gateway) = target.world.private_gateway().await;
    let gateway = Asker::new(&url);
    target.check(&gateway, "any", ("none", None), Caller::Unknown).await;
    target.check(&gateway, "any", ("malformed", Some(MALFORMED)), Caller::Unknown).await;
    for tokens in &tokens {
        let cases = [
            ("malformed", &format!("{}x", tokens.authorized), Caller::Unknown),
            ("expired", &tokens.expired, Caller::Unknown),
            ("wrong audience", &tokens.wrong_audience, Caller::Unknown),
            ("unauthorized", &tokens.unauthorized, Caller::Unauthorized),
            ("authorized", &tokens.authorized, Caller::Authorized),
        ];
        for (kind, token, caller) in cases {
            target.check(&gateway, tokens.mode, (kind, Some(token.as_str())), caller).await;
        }
    }
}

#[tokio::test]
async fn the_document_says_who_may_ask() {
    let target = Target::start().await;
    let (url, _gateway) = target.world.private_gateway().await;
    let gateway = Asker::new(&url);
    let document: Value = gateway.get("/openapi.json").await.json().await.expect("JSON");
    let mut secured = 0;
    for (path, operations) in document["paths"].as_object().expect("paths") {
        for (method, operation) in operations.as_object().expect("operations") {
            let path = path.replace("{id}", "absent").replace("{name}", "absent").replace("{key}", &target.image);
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).expect("a method");
            let answer = gateway.request(method.clone(), &path).send().await.expect("the gateway answers");
            let (status, challenge) = (answer.status().as_u16(), answer.headers().contains_key("www-authenticate"));
            let case = format!("anonymous {method} {path}: {status}");
            if operation["security"].is_array() {
                secured += 1;
                assert_eq!((status, challenge), (401, true), "{case}");
                assert!(operation["responses"]["401"].is_object(), "{case}");
                assert!(operation["x-kubernetes-verb"].is_string(), "{case}");
            } else {
                assert!(![401, 403].contains(&status) && !challenge, "{case}");
                assert!(operation["x-kubernetes-verb"].is_null(), "{case}");
            }
        }
    }
    let guarded = routes().into_iter().filter(|it| it.access != Access::Public).count();
    assert_eq!(secured, guarded);
}

#[tokio::test]
async fn without_authentication_everybody_may_do_everything() {
    let target = Target::start().await;
    let (url, _gateway) = target.world.gateway(&["--authentication=none"]).await;
    let gateway = Asker::new(&url);
    let sign_in = |it: &Route| it.path == "/v1/session";
    for token in [None, Some(MALFORMED)] {
        for route in routes().into_iter().filter(|it| !sign_in(it)) {
            let (status, code, _) = target.ask(&gateway, &route, token).await;
            let denials = ["Unauthenticated", "Forbidden", "BatchNotFound", "ImageNotFound"];
            assert!(
                !denials.contains(&code.as_str()) && status < 500,
                "{} {}: {status} {code}",
                route.method,
                route.path
            );
        }
    }
}

#[tokio::test]
async fn a_way_that_is_off_lets_nobody_in() {
    let target = Target::start().await;
    let [kubernetes, oidc, api_key] = target.world.tokens().await;
    let path = format!("/v1/batches/absent?namespace={}", target.world.harness.namespace);
    let arguments = target.world.arguments();
    let [_, issuer, audience, secret, ..] = arguments.as_slice() else { panic!("arguments") };
    let ways = [
        (vec!["--authentication=kubernetes"], [404, 401, 401]),
        (vec!["--authentication=oidc", issuer, audience], [401, 404, 401]),
        (vec!["--authentication=api-key", secret], [401, 401, 404]),
    ];
    for (arguments, expected) in ways {
        let (url, _gateway) = target.world.gateway(&arguments).await;
        let gateway = Asker::new(&url);
        for (tokens, status) in [&kubernetes, &oidc, &api_key].into_iter().zip(expected) {
            let response = gateway.request(Method::GET, &path).bearer_auth(&tokens.authorized).send().await;
            let got = response.expect("the gateway answers").status();
            assert_eq!(got, status, "{} at {arguments:?}", tokens.mode);
        }
    }
}
