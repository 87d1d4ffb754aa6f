//! A release as it is exposed: HTTPS, Kubernetes' tokens and API keys, images for those alone who may read batches.

use std::net::Ipv4Addr;
use std::time::Duration;

use imagebatch::api::api_key::{self, Owner};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use reqwest::{Certificate, Client, Method, Response, StatusCode};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::cluster::{Forward, PATIENCE, helm_upgrade, run, sample_csv, variable};

/// The release, its namespace and the host that its certificate names.
const NAME: &str = "secured";

/// The gateway, as somebody reaches it.
struct Gateway {
    client: Client,
    base: String,
}

impl Gateway {
    async fn ask(&self, method: Method, path: &str, token: Option<&str>, csv: Option<&str>) -> Response {
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(csv) = csv {
            request = request.header("content-type", "text/csv").body(csv.to_owned());
        }
        request.send().await.expect("an answer")
    }

    async fn get(&self, path: &str, token: Option<&str>) -> Response {
        self.ask(Method::GET, path, token, None).await
    }
}

#[tokio::test]
async fn a_gateway_that_is_exposed_lets_in_who_has_the_right() {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed([NAME.to_owned()]).expect("a certificate");
    let owner = Owner {
        user: "shop".to_owned(),
        groups: Vec::new(),
        namespace: Some(NAME.to_owned()),
        expires: Timestamp::now() + SignedDuration::from_hours(1),
    };
    let mut keys = Secret::default();
    let key = api_key::add(&mut keys, "shop", owner).expect("a key");
    // Each release looks after its own namespaces.
    helm_upgrade(&["rbac.clusterWide=false"]);
    install(&[
        ("tls", "stringData", json!({ "tls.crt": cert.pem(), "tls.key": signing_key.serialize_pem() })),
        ("keys", "data", json!(keys.data)),
    ]);
    let forward = Forward::to(NAME, "secured-gateway", 8080).await;
    let trusted = Certificate::from_pem(cert.pem().as_bytes()).expect("a certificate");
    let local = (Ipv4Addr::LOCALHOST, forward.port).into();
    let client = Client::builder().no_proxy().tls_certs_only([trusted]).resolve(NAME, local);
    let base = format!("https://{NAME}:{}", forward.port);
    let gateway = Gateway { client: client.build().expect("a client"), base };

    // Who may, by either way; who may not; and who is not known.
    let token = |account: &str, audience: &str| {
        here(&["create", "token", account, &format!("--audience={audience}")], "").trim().to_owned()
    };
    let (uploader, stranger) = (token("uploader", "imagebatch"), token("stranger", "imagebatch"));
    let elsewhere = token("uploader", "elsewhere");
    for (token, status) in [
        (None, StatusCode::UNAUTHORIZED),
        (Some(elsewhere.as_str()), StatusCode::UNAUTHORIZED),
        (Some(stranger.as_str()), StatusCode::FORBIDDEN),
        (Some(uploader.as_str()), StatusCode::OK),
        (Some(key.expose_secret()), StatusCode::OK),
    ] {
        let answer = gateway.get("/v1/batches", token).await;
        assert_eq!(answer.status(), status, "{}", answer.text().await.expect("text"));
    }
    let hsts = gateway.get("/", None).await;
    assert!(hsts.headers().contains_key("strict-transport-security"));

    // The key's owner uploads; the other one who may reads.
    let csv = sample_csv();
    let accepted = gateway.ask(Method::POST, "/v1/batches", Some(key.expose_secret()), Some(&csv)).await;
    assert_eq!(accepted.status(), StatusCode::ACCEPTED);
    let accepted: Value = accepted.json().await.expect("JSON");
    let id = accepted["id"].as_str().expect("an id");
    here(&["wait", "--for=condition=Finished", &format!("imagebatch/{id}"), "--timeout=180s"], "");
    let path = format!("/v1/batches/{id}/output.csv");
    let output = gateway.get(&path, Some(&uploader)).await.text().await.expect("text");
    let base = format!("https://{NAME}/images/");
    let image = output.split([',', '"', '\n']).find_map(|it| it.strip_prefix(&base)).expect("an image's URL");
    let image = format!("/images/{image}");
    for (token, status) in [
        (None, StatusCode::UNAUTHORIZED),
        (Some(stranger.as_str()), StatusCode::NOT_FOUND),
        (Some(uploader.as_str()), StatusCode::OK),
    ] {
        let (report, image) = (gateway.get(&path, token).await, gateway.get(&image, token).await);
        assert_eq!((report.status(), image.status()), (status, status));
        if status == StatusCode::OK {
            assert!(image.headers()["cache-control"].to_str().expect("text").contains("private"));
        }
    }

    // A right that is taken is gone with what is remembered of it.
    here(&["delete", "rolebinding", "image-user"], "");
    wait_until_refused(&gateway, &uploader).await;
    helm(&["test", NAME, "--hide-notes"], "");
    here(&["delete", "imagebatch", id], "");
    helm(&["uninstall", NAME, "--wait"], "");
    here(&["delete", "namespace", NAME, "--wait=false"], "");
    helm_upgrade(&["rbac.clusterWide=true"]);
}

async fn wait_until_refused(gateway: &Gateway, token: &str) {
    let refused = async {
        while gateway.get("/v1/batches", Some(token)).await.status() != StatusCode::FORBIDDEN {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    tokio::time::timeout(PATIENCE, refused).await.expect("the right is gone");
}

/// Installs the release beside the demonstration's, with stores and a controller of its own.
fn install(secrets: &[(&str, &str, Value)]) {
    let apply = |object: &Value| {
        here(&["apply", "-f", "-"], &object.to_string());
    };
    let labels = json!({ "pod-security.kubernetes.io/enforce": "restricted" });
    apply(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAME, "labels": labels } }));
    for (name, field, data) in secrets {
        apply(&json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name }, (*field): data }));
    }
    for account in ["uploader", "stranger"] {
        here(&["create", "serviceaccount", account], "");
    }
    let (verbs, resource) = ("--verb=create,get,list", "--resource=imagebatches.imagebatch.io");
    here(&["create", "role", "image-user", verbs, resource], "");
    let account = format!("--serviceaccount={NAME}:uploader");
    here(&["create", "rolebinding", "image-user", "--role=image-user", &account, "--user=shop"], "");

    let values = [
        "crds.enabled=false",
        "fullnameOverride=secured",
        &format!("publicBaseUrl=https://{NAME}/images"),
        "rbac.clusterWide=false",
        "controller.replicas=1",
        "kueue.enabled=false",
        "gateway.replicas=1",
        "gateway.service.type=ClusterIP",
        "gateway.authentication=kubernetes\\,api-key",
        "gateway.apiKeys.secret=keys",
        "gateway.privateImages=true",
        "gateway.tls.secretName=tls",
    ];
    let values = values.iter().flat_map(|it| ["--set", it]);
    let chart = ["install", NAME, "charts/imagebatch", "--values=-", "--wait", "--timeout=180s", "--hide-notes"];
    let demo = run("helm", &["--namespace", &variable("DEMO_NAMESPACE"), "get", "values", "imagebatch"], "");
    let demo = demo.expect("the demonstration's values").replace("USER-SUPPLIED VALUES:", "");
    helm(&chart.into_iter().chain(values).collect::<Vec<_>>(), &demo);
}

/// Runs kubectl in the release's namespace.
fn here(arguments: &[&str], input: &str) -> String {
    let arguments: Vec<&str> = ["--namespace", NAME].iter().chain(arguments).copied().collect();
    run("kubectl", &arguments, input).unwrap_or_else(|error| panic!("kubectl {arguments:?}: {error}"))
}

fn helm(arguments: &[&str], input: &str) {
    let arguments: Vec<&str> = ["--namespace", NAME].iter().chain(arguments).copied().collect();
    run("helm", &arguments, input).unwrap_or_else(|error| panic!("helm {arguments:?}: {error}"));
}
