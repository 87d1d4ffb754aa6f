//! The gateway's part: uploads, tokens and API keys, at a URL.

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::Api;
use kube::api::PostParams;
use serde_json::json;

use super::{Folder, run};
use crate::harness::Harness;
use crate::harness::process::Gateway;

const OPTIONS: &[&str] = &[
    "--quality=40%",
    "--min-quality=20",
    "--format=webp",
    "--max-width=800",
    "--max-height=600",
    "--effort=fast",
    "--report-sizes",
    "--parallelism=5",
    "--queue-name=shops",
    "--active-deadline-seconds=600",
    "--deletion-policy=Delete",
    "--webhook=https://shop.example/hook",
    "--on-invalid-row=skip",
    "--on-duplicate-serial-number=reject",
    "--display-name=Spring & Summer",
];

#[tokio::test]
async fn both_ways_make_the_same_batch() {
    let (harness, folder) = (Harness::start().await, Folder::new());
    let (url, _gateway) = harness.gateway().await;
    let file = folder.write("shop.csv", "No,Name,Url\n1,Bowl,https://a.example/1.jpg\n2,Cup,x.jpg\n");
    let mut made = Vec::new();
    for way in [&["--via=config-map"][..], &["--via=gateway", "--gateway-url", &url]] {
        let printed = run(&harness, &[&["submit", &file, "-o", "name"], OPTIONS, way].concat()).await.expect(0);
        assert!(printed.stderr.contains("error[InvalidUrl]"), "the row that is skipped: {}", printed.stderr);
        let name = printed.stdout.trim().strip_prefix("imagebatch.imagebatch.io/").expect("a name");
        let mut batch = harness.batches().get(name).await.expect("it exists");
        let source = std::mem::take(&mut batch.spec.source);
        assert_ne!(source.config_map_key_ref.is_some(), source.upload.is_some());
        let display_name =
            batch.metadata.annotations.as_ref().and_then(|it| it.get("imagebatch.io/display-name")).cloned();
        made.push((batch.spec, display_name));
    }
    assert_eq!(made[0], made[1]);
    assert_eq!(made[0].1.as_deref(), Some("Spring & Summer"));
    let printed =
        run(&harness, &["submit", &file, "--via=gateway", "--name=a", "--on-invalid-row=skip"]).await.expect(1);
    assert!(printed.stderr.contains("--display-name"), "{}", printed.stderr);
}

#[tokio::test]
async fn keys_and_service_accounts_are_let_in_and_revoked_keys_are_not() {
    let (harness, folder) = (Harness::start().await, Folder::new());
    let (namespace, user) = (&harness.namespace, format!("shop-{}", harness.namespace));
    let created =
        run(&harness, &["key", "create", "shop-1", "--user", &user, "--secret", "keys", "-o", "json"]).await.expect(0);
    let key = created.json()["key"].as_str().expect("a key").to_owned();
    let second = run(&harness, &["key", "create", "shop-2", "--user", &user, "--secret", "keys"]).await.expect(0);
    assert!(key.starts_with("ib_shop-1_") && second.stdout.starts_with("ib_shop-2_"), "{second:?}");
    let printed = run(&harness, &["key", "create", "shop-1", "--user", &user, "--secret", "keys"]).await.expect(1);
    assert!(printed.stderr.contains("revoke it, or take another id"), "{}", printed.stderr);
    let listed = run(&harness, &["key", "list", "--secret", "keys"]).await.expect(0);
    assert_eq!(listed.rows().iter().map(|it| it[0]).collect::<Vec<_>>(), ["ID", "shop-1", "shop-2"]);
    assert!(!listed.stdout.contains(&key[10..]), "{}", listed.stdout);

    let rules = json!([{ "apiGroups": ["imagebatch.io"], "resources": ["imagebatches"], "verbs": ["list"] }]);
    let role: Role =
        serde_json::from_value(json!({ "metadata": { "name": "lists" }, "rules": rules })).expect("a Role");
    let binding: RoleBinding = serde_json::from_value(json!({
        "metadata": { "name": "lists" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "lists" },
        "subjects": [
            { "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user },
            { "kind": "ServiceAccount", "name": "uploader", "namespace": namespace },
        ],
    }))
    .expect("a RoleBinding");
    let params = PostParams::default();
    Api::namespaced(harness.client.clone(), namespace).create(&params, &role).await.expect("it is new");
    Api::namespaced(harness.client.clone(), namespace).create(&params, &binding).await.expect("it is new");
    for name in ["uploader", "stranger"] {
        let mut account = ServiceAccount::default();
        account.metadata.name = Some(name.to_owned());
        Api::namespaced(harness.client.clone(), namespace).create(&params, &account).await.expect("it is new");
    }
    let variables = [("IMAGEBATCH_AUTHENTICATION", "kubernetes,api-key"), ("IMAGEBATCH_API_KEYS_SECRET", "keys")];
    let gateway = Gateway::start(&harness, &variables).await;
    let list = async |arguments: &[&str]| {
        run(&harness, &[&["list", "--all", "--gateway-url", &gateway.url], arguments].concat()).await
    };

    let token = folder.write("key", format!("{key}\n"));
    list(&["--gateway-token-file", &token]).await.expect(0);
    list(&["--gateway-service-account", "uploader"]).await.expect(0);
    let refused = list(&["--gateway-service-account", "stranger"]).await.expect(1);
    assert!(
        refused.stderr.contains("ServiceAccount \"stranger\"") && refused.stderr.contains("bind a Role"),
        "{}",
        refused.stderr
    );
    // The tests' kubeconfig has no token that the gateway would take.
    let refused = list(&[]).await.expect(1);
    assert!(
        refused.stderr.contains("[Unauthenticated") && refused.stderr.contains("--gateway-token-file"),
        "{}",
        refused.stderr
    );

    let revoked = run(&harness, &["key", "revoke", "shop-1", "--secret", "keys"]).await.expect(0);
    assert_eq!(revoked.stdout, "key shop-1 revoked\n");
    run(&harness, &["key", "revoke", "shop-1", "--secret", "keys"]).await.expect(1);
    let gone = async { while list(&["--gateway-token-file", &token]).await.code == 0 {} };
    tokio::time::timeout(crate::harness::PATIENCE, gone).await.expect("the key stops working");
}
