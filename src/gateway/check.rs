//! `gateway check`: asks a running gateway two questions whose answers prove that it reads uploads
//! and reaches the API server and the records; without a token, that it wants one. It leaves nothing behind.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use backon::{ConstantBuilder, Retryable};
use clap::Args;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::Value;

/// Which gateway to check.
#[derive(Args, Debug)]
pub struct CheckArgs {
    /// URL of the gateway, for example <http://imagebatch-gateway:8080>.
    #[arg(long)]
    url: url::Url,
    /// Take any certificate: the one that is served may name the public host alone. Nothing secret is sent.
    #[arg(long)]
    any_certificate: bool,
    /// File with a token of somebody who may create and get batches; not needed where everybody may.
    #[arg(long, conflicts_with = "any_certificate")]
    token_file: Option<PathBuf>,
    /// There is no token, and the gateway must say that it wants one.
    #[arg(long, conflicts_with = "token_file")]
    no_token: bool,
}

/// A CSV whose second row has no URL that could be fetched.
const INVALID_CSV: &str = "S. No.,Product Name,Input Image Urls\n\
    1,Good,https://images.example/1.jpg\n\
    2,Bad,not-a-url\n";
/// Longest time for one answer.
const ANSWER: Duration = Duration::from_secs(20);
/// How often a gateway that does not answer yet is asked again, a second apart.
const TRIES: usize = 30;

/// Checks the gateway; the error says what was expected and what came.
pub async fn check(args: &CheckArgs) -> anyhow::Result<()> {
    let base = args.url.as_str().trim_end_matches('/');
    let client = Client::builder().no_proxy().timeout(ANSWER).tls_danger_accept_invalid_certs(args.any_certificate);
    let client = client.build().context("failed to set up the HTTP client")?;

    let token = match &args.token_file {
        Some(file) => {
            Some(std::fs::read_to_string(file).with_context(|| format!("failed to read {}", file.display()))?)
        }
        None => None,
    };
    let with_token = |request: RequestBuilder| match &token {
        Some(token) => request.bearer_auth(token.trim()),
        None => request,
    };
    let upload = client.post(format!("{base}/v1/batches")).header(CONTENT_TYPE, "text/csv").body(INVALID_CSV);
    if args.no_token {
        problem(upload, StatusCode::UNAUTHORIZED, "Unauthenticated").await?;
        return say(&format!("POST {base}/v1/batches without a token: 401, it wants one"));
    }
    let upload = with_token(upload);
    let problem = problem(upload, StatusCode::UNPROCESSABLE_ENTITY, "InvalidSource").await?;
    ensure!(problem["errorCount"] == 1, "expected one problem: {problem}");
    let found = &problem["errors"][0];
    ensure!(found["row"] == 2 && found["line"] == 3, "expected the problem in row 2, line 3: {problem}");
    ensure!(found["code"] == "InvalidUrl", "expected the code InvalidUrl: {problem}");
    say(&format!("POST {base}/v1/batches with a bad row: 422, InvalidUrl in row 2"))?;

    let unknown = uuid::Uuid::now_v7();
    let get = with_token(client.get(format!("{base}/v1/batches/{unknown}")));
    self::problem(get, StatusCode::NOT_FOUND, "BatchNotFound").await?;
    say(&format!("GET {base}/v1/batches/{unknown}: 404, no such batch"))
}

/// Returns the problem document of an answer that must be one of that status and code.
async fn problem(request: RequestBuilder, status: StatusCode, code: &str) -> anyhow::Result<Value> {
    let ask = || async {
        let request = request.try_clone().context("failed to repeat the request")?;
        request.send().await.context("failed to reach the gateway")
    };
    let pause = ConstantBuilder::default().with_delay(Duration::from_secs(1)).with_max_times(TRIES);
    let unreachable =
        |error: &anyhow::Error| error.downcast_ref::<reqwest::Error>().is_some_and(reqwest::Error::is_connect);
    let response = ask.retry(pause).when(unreachable).await?;

    let (url, got) = (response.url().clone(), response.status());
    let kind = response.headers().get(CONTENT_TYPE).and_then(|it| it.to_str().ok()).unwrap_or_default().to_owned();
    let body = response.text().await.with_context(|| format!("failed to read the answer of {url}"))?;
    ensure!(got == status, "expected {status} from {url}, got {got}: {body}");
    ensure!(kind == "application/problem+json", "expected application/problem+json from {url}, got {kind:?}: {body}");
    let Ok(problem) = serde_json::from_str::<Value>(&body) else { bail!("expected JSON from {url}, got {body}") };
    ensure!(problem["code"] == code, "expected the code {code} from {url}: {body}");
    ensure!(problem["status"] == status.as_u16(), "expected the member status {status} from {url}: {body}");
    Ok(problem)
}

fn say(line: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout().lock(), "{line}").context("failed to write to standard output")
}
