//! What the log says of requests, and what it must never say.

use reqwest::Method;
use serde_json::{Value, json};

use super::surroundings::World;
use crate::gateway::client::{Asker, CSV};
use crate::harness::process::{Gateway, append};

const SHA: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Uploads CSVs whose URLs have secrets, and names a webhook that has one; returns the secrets.
async fn upload_with_secrets(gateway: &Asker, namespace: &str, token: &str) -> [String; 3] {
    let secret = || format!("in-a-url-{}", uuid::Uuid::new_v4().simple());
    let (user, query, webhook) = (secret(), secret(), secret());
    let csv = |url: &str| format!("S. No.,Product Name,Input Image Urls\n1,Bowl,{url}\n");
    let hook = format!("webhook=https://shop.example/hook?token={webhook}");
    for (path, url, status) in [
        (format!("/v1/batches?namespace={namespace}&{hook}"), format!("https://shop.example/1.jpg?key={query}"), 202),
        (format!("/v1/batches?namespace={namespace}"), format!("https://shop:{user}@shop.example/1.jpg"), 422),
        (format!("/v1/batches?namespace={namespace}&{hook}&colour={query}"), "none".to_owned(), 400),
    ] {
        let upload = gateway.request(Method::POST, &path).bearer_auth(token).header("content-type", "text/csv");
        let answer = upload.body(csv(&url)).send().await.expect("an answer").status().as_u16();
        // Or the token is one that may not.
        assert!([status, 401, 403].contains(&answer), "{path}: {answer}");
    }
    [user, query, webhook]
}

/// Signs in; returns the session's secrets where there is one.
async fn sign_in(gateway: &Asker, token: &str) -> Vec<String> {
    let signed_in = gateway.request(Method::POST, "/v1/session").json(&json!({ "token": token }));
    let signed_in = signed_in.send().await.expect("an answer");
    let Some(set) = signed_in.headers().get("set-cookie") else { return Vec::new() };
    let cookie = set.to_str().expect("text").split(';').next().expect("a cookie").to_owned();
    gateway.request(Method::GET, "/v1/session").header("cookie", &cookie).send().await.expect("an answer");
    let (_, value) = cookie.split_once('=').expect("a value");
    let view: Value = signed_in.json().await.expect("JSON");
    vec![value.to_owned(), view["csrfToken"].as_str().expect("a word").to_owned()]
}

#[tokio::test]
async fn changes_are_told_and_secrets_are_not() {
    let world = World::start().await;
    let tokens = world.tokens().await;
    let a = world.harness.namespace.clone();
    let path = std::env::temp_dir().join(format!("gateway-{a}.log"));
    let session_key = "a-session-key-that-nobody-shall-read-in-any-log";
    let variables = [
        ("IMAGEBATCH_AUTHENTICATION", "kubernetes,oidc,api-key"),
        ("IMAGEBATCH_OIDC_ISSUER", world.issuer.url.as_str()),
        ("IMAGEBATCH_OIDC_AUDIENCE", "imagebatch"),
        ("IMAGEBATCH_API_KEYS_SECRET", "keys"),
        ("IMAGEBATCH_PRIVATE_IMAGES", "true"),
        ("IMAGEBATCH_SESSION_KEY", session_key),
        ("IMAGEBATCH_IMAGE_DELIVERY", "redirect"),
        // All that the libraries say, too. The audit lines' target is not among them, which are written all the same.
        ("IMAGEBATCH_LOG", "trace,audit=off"),
    ];
    let mut process = Gateway::start_with(&world.harness, &variables, append(&path)).await;
    let gateway = Asker::new(&process.url);
    let image = world.harness.storage.keys().batch(&a, "root").image(SHA, "https://shop.example/1.jpg", "jpg");
    let put = world.harness.storage.put_image(&image, "image/jpeg", b"bytes".as_slice().into()).await;
    put.expect("storage answers");
    let mut secrets = vec![session_key.to_owned()];
    let mut expected = Vec::new();
    for tokens in &tokens {
        let all = [&tokens.authorized, &tokens.unauthorized, &tokens.expired, &tokens.wrong_audience];
        for (number, token) in all.into_iter().enumerate() {
            secrets.push(token.clone());
            let id = format!("{}-{number}", tokens.mode);
            let upload = gateway.request(Method::POST, &format!("/v1/batches?namespace={a}"));
            let upload = upload.bearer_auth(token).header("x-request-id", &id).header("content-type", "text/csv");
            let status = upload.body(CSV).send().await.expect("an answer").status().as_u16();
            expected.push((id, status));
            // Wherever else somebody may put it by mistake.
            let requests = [
                gateway.request(Method::GET, "/v1/batches/absent").header("authorization", format!("Basic {token}")),
                gateway.request(Method::GET, "/v1/batches/absent").header("authorization", token),
                gateway.request(Method::GET, "/v1/batches/absent").header("x-csrf-token", token),
                gateway
                    .request(Method::GET, "/v1/batches/absent")
                    .header("cookie", format!("imagebatch-session={token}")),
                gateway
                    .request(Method::GET, &format!("/v1/batches/absent?namespace={a}&token={token}"))
                    .bearer_auth(token),
                gateway.request(Method::GET, &format!("/images/it/{a}/root/{SHA}/absent.jpg")).bearer_auth(token),
                gateway.request(Method::POST, "/v1/session").json(&json!({ "token": token, "more": token })),
                gateway
                    .request(Method::POST, "/v1/session")
                    .header("content-type", "application/json")
                    .body(token.clone()),
            ];
            for request in requests {
                request.send().await.expect("an answer");
            }
            // What is signed for one client is nobody else's.
            let image = gateway.request(Method::GET, &format!("/images/{image}")).bearer_auth(token);
            let image = image.send().await.expect("an answer");
            if let Some(location) = image.headers().get("location") {
                let (_, signature) = location.to_str().expect("a URL").split_once("X-Amz-Signature=").expect("signed");
                secrets.push(signature.to_owned());
            }
            secrets.extend(upload_with_secrets(&gateway, &a, token).await);
            secrets.extend(sign_in(&gateway, token).await);
        }
    }
    process.kill();
    let log = std::fs::read_to_string(&path).expect("the log");
    std::fs::remove_file(&path).expect("it can be removed");
    assert!(secrets.len() > 60, "{} secrets", secrets.len());
    assert!(log.contains("\"level\":\"TRACE\""), "the log is not of all levels");
    for secret in &secrets {
        // A token's last part, its signature, is what makes it one.
        let part = &secret[secret.len() - 20..];
        let line = log.lines().find(|it| it.contains(part));
        assert!(line.is_none(), "a secret stands in {}", line.unwrap_or_default().replace(part, "[...]"));
    }
    let lines: Vec<Value> = log.lines().filter_map(|it| serde_json::from_str(it).ok()).collect();
    let one = |id: &str, message: &str| -> Value {
        let mut found = lines.iter().filter(|it| it["request_id"] == id && it["message"] == message);
        let line = found.next().unwrap_or_else(|| panic!("no line {message:?} of {id}")).clone();
        assert!(found.next().is_none(), "two lines {message:?} of {id}");
        line
    };
    for (id, status) in expected {
        let (line, audit) = (one(&id, "request"), one(&id, "audit"));
        let decision = match status {
            202 => "allowed",
            403 => "refused",
            _ => "unauthenticated",
        };
        assert_eq!((&line["status"], &line["decision"]), (&json!(status), &json!(decision)), "{line}");
        assert_eq!((&audit["action"], &audit["target"]), (&json!("upload"), &json!("audit")), "{audit}");
        assert_eq!((&audit["status"], &audit["decision"]), (&json!(status), &json!(decision)), "{audit}");
        assert!(line["route"] == "/v1/batches" && line["bytes"].is_u64() && line["duration_ms"].is_u64(), "{line}");
        if status != 401 {
            assert!(line["user"].as_str().is_some_and(|it| it.contains("shop") || it.contains("stranger")), "{line}");
            assert_eq!(audit["user"], line["user"]);
        }
        if status == 202 {
            assert!(audit["batch.name"].is_string(), "{audit}");
        }
    }
}
