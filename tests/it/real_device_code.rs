//! A sign-in by device code at an OpenID provider that nobody here wrote: `flowgate sign-in --device-code` as the real binary, the provider's
//! own pages for the person, and what the provider answers while nobody has typed the code, after somebody aborted, and when it is too late.
//!
//! It never says `slow_down`: that is tried with canned answers beside `refresh_token::sign_in`.

use http::{Request, StatusCode};

use crate::house::{House, KEY};
use crate::process::Process;
use crate::provider::Provider;
use crate::real_sign_in::{Browser, SignInFixture, YAML};
use crate::sign_in::ended;

/// The configuration with this device endpoint.
fn yaml(path: &str) -> String {
    let address = format!("device_url: \"${{ISSUER}}{path}\"\n      client_id: planner");
    YAML.replace("client_id: planner", &address)
}

/// What the command shows: where to go, and the code to type.
fn shown(process: &mut Process, desk: &SignInFixture) -> (String, String) {
    let line = process.line(&format!("{}/device   ", desk.provider.issuer()));
    let (address, code) = line.split_once("   ").unwrap();
    (address.to_owned(), code.to_owned())
}

/// Returns once the provider was asked for tokens so often.
async fn polled(desk: &SignInFixture, times: u64) {
    let patience = std::time::Duration::from_secs(20);
    let asked = async {
        while desk.provider.count("/token").await < times {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(patience, asked).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_is_typed_at_the_providers_own_page_and_the_token_rotates_on() {
    let Some(provider) = Provider::start() else {
        return;
    };
    // Its own endpoint, which names no interval: the first question comes after five seconds.
    let yaml = yaml("/device/auth");
    let desk = SignInFixture::with(provider, &yaml);
    let mut process = desk.run("sign-in", &["--device-code"]);
    let (address, code) = shown(&mut process, &desk);
    let page = Browser::default()
        .at_device_page(&address, "planner-bot", &code, false)
        .await;
    assert!(page.contains("Sign-in Success"), "{page}");
    assert_eq!(desk.provider.count("/token").await, 0, "too early");
    let (exit, said) = ended(process);
    assert_eq!(exit, 0, "{said}");
    assert!(said.contains("Signed in as planner-bot"), "{said}");
    assert_eq!(desk.provider.count("/token").await, 1);
    assert!(!said.contains("eyJ"), "{said}");

    let mut stores = Vec::new();
    for _ in 0..3 {
        let claims = desk.renewed();
        assert_eq!(
            (claims["sub"].as_str(), claims["aud"].as_str()),
            (Some("planner-bot"), Some("flowgate"))
        );
        let store = std::fs::read(desk.folder.path().join("planner.token")).unwrap();
        assert!(!stores.contains(&store), "the token does not rotate");
        stores.push(store);
    }
    let simulator = House::simulator().await;
    let elsewhere = simulator.origin();
    let mut more: Vec<(&str, &str)> = desk
        .environment
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    more.push(("ELSEWHERE", &elsewhere));
    let house = House::around(simulator, &yaml, &more).await;
    let request = Request::post("/f").header("x-api-key", KEY);
    let answer = house.send(request.body("{}").unwrap()).await;
    // The simulator knows no such path and says so: the call got there, with a token.
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    let seen = house.simulator.received().pop().unwrap();
    let token = seen.header("authorization").unwrap();
    assert!(token.starts_with("Bearer ey"));
    let last = std::fs::read(desk.folder.path().join("planner.token")).unwrap();
    assert!(!stores.contains(&last), "the gateway's renewal was kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_waits_while_nobody_has_typed_the_code_and_ends_when_the_person_aborts() {
    let Some(provider) = Provider::start() else {
        return;
    };
    let desk = SignInFixture::with(provider, &yaml("/-/device/1"));
    let mut process = desk.run("sign-in", &["--device-code"]);
    let (address, code) = shown(&mut process, &desk);
    // Twice `authorization_pending`.
    polled(&desk, 2).await;
    let page = Browser::default()
        .at_device_page(&address, "planner-bot", &code, false)
        .await;
    assert!(page.contains("Sign-in Success"), "{page}");
    let (exit, said) = ended(process);
    assert_eq!(exit, 0, "{said}");
    let store = desk.folder.path().join("planner.token");
    let before = std::fs::read(&store).unwrap();

    let mut process = desk.run("sign-in", &["--device-code"]);
    let (address, code) = shown(&mut process, &desk);
    let page = Browser::default()
        .at_device_page(&address, "planner-bot", &code, true)
        .await;
    assert!(page.contains("interrupted"), "{page}");
    let (exit, said) = ended(process);
    assert_eq!(exit, 1, "{said}");
    let expected = "the sign-in ended without a code (access_denied)";
    assert!(said.contains(expected), "{said}");
    assert_eq!(
        std::fs::read(&store).unwrap(),
        before,
        "what was there stays"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_that_nobody_types_in_time_ends_the_waiting() {
    let Some(provider) = Provider::start_with_device_codes_of(3) else {
        return;
    };
    let desk = SignInFixture::with(provider, &yaml("/-/device/1"));
    let (exit, said) = ended(desk.run("sign-in", &["--device-code"]));
    assert_eq!(exit, 1, "{said}");
    let late = "nobody signed in within the time the provider allows";
    assert!(said.contains(late), "{said}");
    assert!(desk.provider.count("/token").await >= 1, "it did ask");
    // A provider that ends the code sooner than it said: `expired_token`.
    let file = desk.folder.path().join("flowgate.yaml");
    std::fs::write(file, yaml("/-/device/1/600")).unwrap();
    let (exit, said) = ended(desk.run("sign-in", &["--device-code"]));
    assert_eq!(exit, 1, "{said}");
    assert!(said.contains(late), "{said}");
    assert!(!desk.folder.path().join("planner.token").exists());
}
