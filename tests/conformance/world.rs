//! A gateway's identity stage with its dependencies under the test's control: time, the issuers' documents, and who asked for them.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fixture: what fails here fails the test"
)]

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use flowgate::body::Body;
use flowgate::call::{Call, RequestId, RequestLog};
use flowgate::client::Reach;
use flowgate::clock::{Clock, Random};
use flowgate::diagnosis::Reason;
use flowgate::flow::Flows;
use flowgate::identity::key_set::{Fault, Fetch};
use flowgate::identity::{
    Caller, Callers, Deps, Failure, Identity, KeySets, Place, Proof, api_key, entra, jwt,
};
use flowgate::metrics::Metrics;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use url::Url;

/// When every test begins.
pub const NOW: u64 = 1_800_000_000;

/// The OpenID issuer of most cases.
pub const ISSUER: &str = "https://idp.example";

/// The Entra authority and tenant of most cases.
pub const AUTHORITY: &str = "https://login.example";
pub const TENANT: &str = "8f3b0000-0000-0000-0000-000000000001";

/// What an address answers.
#[derive(Clone)]
pub enum Answer {
    Json(String),
    Fault(Reason),
    /// Nothing, for ever.
    Hang,
    /// A bug of ours.
    Panic,
}

/// The documents of all issuers, and every question for them.
#[derive(Clone, Default)]
pub struct Net(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    answers: HashMap<String, Answer>,
    asked: Vec<(String, Reach)>,
}

impl Net {
    pub fn put(&self, address: &str, answer: Answer) {
        self.0
            .lock()
            .unwrap()
            .answers
            .insert(address.into(), answer);
    }

    /// Every address that was asked for, and how far the question might reach.
    pub fn asked(&self) -> Vec<(String, Reach)> {
        self.0.lock().unwrap().asked.clone()
    }

    /// How often this address was asked for.
    pub fn count(&self, address: &str) -> usize {
        self.asked()
            .iter()
            .filter(|(asked, _)| asked == address)
            .count()
    }

    fn fetch(&self) -> Fetch {
        let net = self.clone();
        Fetch::from_fn(move |address, reach| {
            let answer = {
                let mut state = net.0.lock().unwrap();
                state.asked.push((address.to_string(), reach));
                state.answers.get(address.as_str()).cloned()
            };
            Box::pin(async move {
                match answer {
                    Some(Answer::Json(text)) => Ok(Bytes::from(text)),
                    Some(Answer::Fault(reason)) => Err(Fault::of(reason)),
                    Some(Answer::Hang) => std::future::pending().await,
                    Some(Answer::Panic) => panic!("a bug, for the test"),
                    None => Err(Fault::of(Reason::Status)),
                }
            })
        })
    }
}

/// Everything around the callers.
pub struct World {
    pub clock: Clock,
    pub net: Net,
    pub key_sets: KeySets,
    pub metrics: Metrics,
}

impl World {
    pub fn new() -> Self {
        let clock = Clock::manual(NOW);
        let metrics = Metrics::new().unwrap();
        let random = Random::from_fn(|bytes| bytes.fill(0x7f));
        Self {
            key_sets: KeySets::new(clock.clone(), random, metrics.clone()),
            net: Net::default(),
            clock,
            metrics,
        }
    }

    /// Publishes an OpenID issuer's discovery document and keys.
    pub fn openid(&self, issuer: &str, keys: &[Value]) {
        let jwks = format!("{issuer}/jwks");
        let discovery = json!({ "issuer": issuer, "jwks_uri": jwks }).to_string();
        let address = format!("{issuer}/.well-known/openid-configuration");
        self.net.put(&address, Answer::Json(discovery));
        self.keys(&jwks, keys);
    }

    /// Publishes an authority's metadata and keys for a tenant, v1 and v2.
    pub fn entra(&self, authority: &str, tenant: &str, v1: &[Value], v2: &[Value]) {
        let base = format!("{authority}/{tenant}");
        for (version, issuer, keys) in [
            ("", format!("https://sts.windows.net/{tenant}/"), v1),
            ("/v2.0", format!("{authority}/{tenant}/v2.0"), v2),
        ] {
            let jwks = format!("{base}{version}/keys");
            let metadata = json!({
                "issuer": issuer,
                "jwks_uri": jwks,
                "cloud_instance_name": "login.example",
            });
            let address = format!("{base}{version}/.well-known/openid-configuration");
            self.net.put(&address, Answer::Json(metadata.to_string()));
            self.keys(&jwks, keys);
        }
    }

    /// Publishes a key set.
    pub fn keys(&self, address: &str, keys: &[Value]) {
        self.net
            .put(address, Answer::Json(json!({ "keys": keys }).to_string()));
    }

    /// The callers of a configuration, whose keys may still be on their way.
    pub fn callers_cold(&self, callers: &[Caller]) -> Callers {
        self.callers_of(callers, Flows::default())
    }

    /// The callers of a configuration with flows, whose keys may still be on their way.
    pub fn callers_of(&self, callers: &[Caller], flows: Flows) -> Callers {
        Callers::new(
            callers,
            Arc::new(flows),
            Deps {
                hosts: Vec::new(),
                verified_tokens: 1000,
                clock: self.clock.clone(),
                secrets: flowgate::vault::Secrets::default(),
                outbound: self.net.fetch(),
            },
            &self.key_sets,
        )
    }

    /// The callers of a configuration, each key set tried once.
    pub async fn callers(&self, callers: &[Caller]) -> Callers {
        let callers = self.callers_cold(callers);
        self.key_sets.first_tried().await;
        callers
    }

    /// Lets background tasks run until `condition` holds; time does not move meanwhile.
    pub async fn until(&self, condition: impl Fn() -> bool) {
        for _ in 0..100_000 {
            if condition() {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("what the test waits for never happened");
    }

    /// Moves time, and waits until another refresh of `address` has been asked for and has ended.
    pub async fn refreshed_after(&self, by: Duration, address: &str) {
        let before = self.net.count(address);
        self.clock.advance(by);
        self.until(|| self.net.count(address) > before).await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
}

/// A call with these headers for `path`.
pub fn call_to(path: &str, headers: &[(&str, &str)]) -> Box<Call> {
    let mut request = http::Request::post(path).header("host", "gateway.example");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let random = Random::from_fn(|bytes| bytes.fill(1));
    let request = request.body(Body::empty()).unwrap();
    Call::new(request, RequestId::fresh(&random), RequestLog::default())
}

/// Who calls with these headers.
pub async fn ask(callers: &Callers, headers: &[(&str, &str)]) -> Result<Identity, Failure> {
    let identified = callers.identify(call_to("/flow", headers)).await?;
    Ok(identified.into_parts().2)
}

/// Who calls with this token.
pub async fn bearer(callers: &Callers, token: &str) -> Result<Identity, Failure> {
    ask(callers, &[("authorization", &format!("Bearer {token}"))]).await
}

/// The outcome as one word: the reason, or who it is.
pub fn word(outcome: &Result<Identity, Failure>) -> String {
    match outcome {
        Ok(identity) => {
            let callers: Vec<String> = identity.matches.iter().map(|id| id.0.to_string()).collect();
            callers.join("+")
        }
        Err(Failure::Nobody { reason, .. }) => reason.word().to_owned(),
        Err(Failure::Ambiguous) => "ambiguous".into(),
        Err(Failure::KeySetUnavailable) => "key_set_unavailable".into(),
        Err(Failure::KeyUnreadable) => "key_unreadable".into(),
        Err(Failure::Overloaded) => "overloaded".into(),
        Err(Failure::Malformed(_)) => "malformed".into(),
    }
}

/// Every algorithm there is.
pub const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// Settings of a `jwt` caller that accepts everything of [`ISSUER`] for `flowgate`.
pub fn jwt_settings() -> jwt::JwtSettings {
    jwt::JwtSettings {
        issuer: ISSUER.into(),
        jwks_url: None,
        audience: vec!["flowgate".into()],
        client_ids: Vec::new(),
        algorithms: ALGORITHMS.to_vec(),
        claims: BTreeMap::new(),
        accept_id_tokens: false,
    }
}

/// Settings of an `entra` caller without filters.
pub fn entra_settings() -> entra::EntraSettings {
    entra::EntraSettings {
        authority: Url::parse(AUTHORITY).unwrap(),
        tenant: TENANT.into(),
        audience: vec![
            "api://flowgate".into(),
            "11110000-0000-0000-0000-00000000aaaa".into(),
        ],
        object_ids: Vec::new(),
        client_ids: Vec::new(),
        roles: Vec::new(),
        scopes: Vec::new(),
        groups: Vec::new(),
        require: entra::Require::All,
        apps: false,
    }
}

/// A caller.
pub fn caller(name: &str, proof: Proof) -> Caller {
    Caller {
        name: name.into(),
        proof,
    }
}

/// An API-key caller whose key is `key`.
pub fn key_caller(name: &str, place: Place, key: &str) -> Caller {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.as_bytes());
    let key = api_key::Key {
        digest: flowgate::identity::api_key::Digest::Fixed(digest.as_ref().try_into().unwrap()),
        not_before: None,
        expires: None,
    };
    let keys = vec![key];
    caller(
        name,
        Proof::ApiKey(api_key::ApiKeySettings {
            location: place,
            keys,
        }),
    )
}
