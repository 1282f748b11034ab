//! The simulator, driven over real sockets.

mod assertions;
mod azure;
mod browser;
mod entra;
mod faults;
mod graph;
mod on_behalf_of;
mod passwords;
mod records;
mod refresh;
mod reply;
mod token_endpoint;
mod tokens;
mod trigger;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use super::*;

/// An answer, read to its end.
struct Got {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Got {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Status and `error.code` of the flow service.
    fn refusal(&self) -> (u16, String) {
        let code = self.json()["error"]["code"].as_str().unwrap().to_owned();
        (self.status.as_u16(), code)
    }

    fn message(&self) -> String {
        self.json()["error"]["message"].as_str().unwrap().to_owned()
    }
}

async fn simulator() -> Simulator {
    Simulator::start(Options::default()).await.unwrap()
}

async fn send(request: Request<Full<Bytes>>) -> Result<Got, String> {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let answer = client.request(request).await.map_err(|e| e.to_string())?;
    let (head, body) = answer.into_parts();
    let body = body.collect().await.map_err(|e| e.to_string())?.to_bytes();
    Ok(Got {
        status: head.status,
        headers: head.headers,
        body,
    })
}

fn request(method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::from(body.to_owned())).unwrap()
}

async fn get(url: &str) -> Got {
    send(request("GET", url, &[], "")).await.unwrap()
}

/// A JSON POST.
async fn post(url: &str, headers: &[(&str, &str)], body: &str) -> Got {
    let mut all = vec![("content-type", "application/json")];
    all.extend_from_slice(headers);
    send(request("POST", url, &all, body)).await.unwrap()
}

/// A form POST.
async fn form(url: &str, fields: &[(&str, &str)]) -> Got {
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish();
    let kind = ("content-type", "application/x-www-form-urlencoded");
    send(request("POST", url, &[kind], &body)).await.unwrap()
}

/// The token the gateway's application gets for the flow service.
async fn flow_token(simulator: &Simulator, v2: bool) -> String {
    let answer = form(
        &simulator.token_url(directory::DEMO_TENANT, v2),
        &[
            ("grant_type", "client_credentials"),
            ("client_id", directory::GATEWAY_APP),
            (
                "client_secret",
                &simulator.client_secret(directory::GATEWAY_APP),
            ),
            ("scope", "https://service.flow.microsoft.com//.default"),
        ][..if v2 { 4 } else { 3 }]
            .iter()
            .copied()
            .chain((!v2).then_some(("resource", flow::FLOW_AUDIENCE)))
            .collect::<Vec<_>>(),
    )
    .await;
    assert_eq!(answer.status, 200, "{}", answer.json());
    answer.json()["access_token"].as_str().unwrap().to_owned()
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}
