//! The password grant as an endpoint sees it, why it fails, and that a refused password does not lock an account.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::client::Outbound;
use crate::clock::{Clock, Random};
use crate::credential::client_secret::{self, ClientAuth};
use crate::credential::proof::Proof;
use crate::credential::source::Grant;
use crate::credential::token_cache::TokenCache;
use crate::credential::token_cache_entry::{Deps, TokenCacheEntry};
use crate::credential::{CredentialSettings as Credential, Kind};
use crate::metrics::Metrics;
use crate::secret::Secret;
use crate::vault::Secrets;
use testkit::Server;

mod lockout;
mod simulated;

const START: u64 = 1_800_000_000;

fn value(text: &str) -> Value {
    Value::Fixed(Secret::new(text.to_owned()))
}

fn secret(text: &str, client_auth: ClientAuth) -> Proof {
    Proof::Secret(client_secret::ClientSecretSettings {
        secret: value(text),
        next: None,
        client_auth,
    })
}

fn settings(token_url: url::Url, proof: Proof) -> PasswordSettings {
    PasswordSettings {
        application: Application {
            token_url,
            client_id: "client".into(),
            proof,
            parameters: BTreeMap::new(),
            entra: true,
            cae: false,
        },
        username: "svc@flowgate.example".into(),
        password: value("pass"),
    }
}

fn graph() -> Ask {
    Ask::Scope("https://graph.microsoft.com/.default".into())
}

async fn fetched(settings: &PasswordSettings, ask: &Ask) -> Result<Grant, AttemptError> {
    let context = Context {
        credential: "c".into(),
        outbound: Outbound::for_tests(),
        clock: Clock::system(),
        random: Random::system(),
        secrets: Secrets::default(),
        secret_expiry: crate::metrics::Metrics::new().unwrap().secret_expiry,
        clock_skew: crate::metrics::Metrics::new()
            .unwrap()
            .clock_skew(&crate::clock::Clock::system()),
    };
    source(settings, ask, &context, &Refused::default())
        .fetch(Wish::default())
        .await
}

fn token() -> testkit::Reply {
    let body = json!({"token_type": "Bearer", "expires_in": "3599", "access_token": "token"});
    testkit::json(200, &body)
}

#[tokio::test]
async fn name_password_and_secret_arrive_whatever_their_characters() {
    let provider = Server::start(|_, _| token()).await;
    for text in [
        "~a+b/c&d%e=f",
        "100%25 sure? #1;:@",
        " blanks at both ends ",
        "grüße-ß-日本語-🔑",
        "'\"\\<>{}|^`$!*()",
    ] {
        let mut settings = settings(provider.at("token"), secret(text, ClientAuth::Post));
        settings.username = format!("{text}@flowgate.example");
        settings.password = value(text);
        assert!(fetched(&settings, &graph()).await.is_ok(), "{text}");
        let request = provider.seen().pop().unwrap();
        assert_eq!(request.method(), "POST");
        assert_eq!(request.field("grant_type").as_deref(), Some("password"));
        assert_eq!(request.field("username"), Some(settings.username));
        assert_eq!(request.field("password").as_deref(), Some(text));
        assert_eq!(request.field("client_secret").as_deref(), Some(text));
    }
}

#[tokio::test]
async fn v2_asks_with_scope_v1_with_resource_and_a_public_client_sends_no_secret() {
    let provider = Server::start(|_, _| token()).await;
    let confidential = settings(provider.at("token"), secret("s", ClientAuth::Post));
    let public = settings(provider.at("token"), Proof::Nothing);
    let basic = settings(provider.at("token"), secret("s", ClientAuth::Basic));
    let resource = Ask::Resource("https://graph.microsoft.com".into());
    for (settings, ask) in [
        (&confidential, &resource),
        (&public, &graph()),
        (&basic, &graph()),
    ] {
        fetched(settings, ask).await.ok().unwrap();
    }
    let seen = provider.seen();
    for (seen, own) in [
        (&seen[0], "client_id client_secret resource"),
        (&seen[1], "client_id scope"),
        (&seen[2], "scope"),
    ] {
        let names = format!("grant_type username password {own}");
        assert_eq!(seen.names().join(" "), names);
    }
    assert!(
        seen[2]
            .header("authorization")
            .unwrap()
            .starts_with("Basic ")
    );
}
