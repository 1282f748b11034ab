//! Every way in which the application can prove itself when it exchanges a caller's token, from the configuration's text to Graph's answer.

use http::Request;
use simulator::directory::{API_APP, DEMO_TENANT, DEMO_USER};
use simulator::{ClientSecret, Federated, OutsideToken, TokenRequest, TokenSpec};

use crate::certificates::{RSA, Workshop};
use crate::house::House;

const YAML: &str = r#"
server: { listen: "127.0.0.1:8080" }
defaults: { entra: { tenant: "${TENANT}", authority: "${AUTHORITY}" } }
callers: { staff: { entra: { audience: ["${API}", "api://${API}"] } } }
credentials:
  c: { on_behalf_of: { client_id: "${API}", PROOF } }
flows:
  me: { url: "${GRAPH}/me", methods: [GET], who_can_trigger: [staff], credential: c }
"#;

const SECRET: &str = "odd~secret+/&%= ü\"\\'";
const SUBJECT: &str = "system:serviceaccount:flows:flowgate";

/// How the last request proved the application, and what it asked for.
fn seen(asked: &TokenRequest) -> [bool; 5] {
    [
        asked.field("client_secret") == Some(SECRET),
        asked.basic,
        asked.field("client_assertion").is_some(),
        asked.field("scope").is_some(),
        asked.field("resource").is_some(),
    ]
}

#[tokio::test]
async fn each_proof_and_either_endpoint_exchanges_the_callers_token() {
    const SCOPE: &str = r#"scope: ["https://graph.microsoft.com/User.Read"]"#;
    const V1: &str = r#"endpoint: v1, resource: "https://graph.microsoft.com""#;
    let shop = Workshop::open();
    shop.certificate("app", RSA);
    let pem = ["app.key", "app.crt"].map(|name| std::fs::read_to_string(shop.path(name)).unwrap());
    let (pem, pfx) = (pem.concat(), shop.path("app.pfx").display().to_string());
    let file = shop.path("token").display().to_string();
    for (proof, asks, requests, expected) in [
        (
            "secret: { env: SECRET }",
            SCOPE,
            1,
            [true, false, false, true, false],
        ),
        (
            "secret: { env: SECRET }",
            V1,
            1,
            [true, false, false, false, true],
        ),
        (
            "secret: { env: SECRET }, client_auth: basic",
            SCOPE,
            1,
            [false, true, false, true, false],
        ),
        (
            "secret: { env: OLD }, next_secret: { env: SECRET }",
            SCOPE,
            2,
            [true, false, false, true, false],
        ),
        (
            "certificate: { env: PEM }",
            SCOPE,
            1,
            [false, false, true, true, false],
        ),
        (
            "certificate: { env: PEM }",
            V1,
            1,
            [false, false, true, false, true],
        ),
        (
            "certificate: { file: \"${PFX}\" }, passphrase: { env: PASSPHRASE }, algorithm: RS256, send_chain: true",
            SCOPE,
            1,
            [false, false, true, true, false],
        ),
        (
            "federated_token_file: \"${TOKEN_FILE}\"",
            SCOPE,
            1,
            [false, false, true, true, false],
        ),
        (
            "federated_token_file: \"${TOKEN_FILE}\"",
            V1,
            1,
            [false, false, true, false, true],
        ),
    ] {
        let simulator = House::simulator().await;
        let registered = shop.registered("app");
        simulator.set_app(DEMO_TENANT, API_APP, |app| {
            app.secrets = vec![ClientSecret::new(SECRET)];
            app.certificates = vec![registered];
            app.federated = vec![Federated::cluster(SUBJECT)];
        });
        let outside = simulator.outside_token(&OutsideToken::new(SUBJECT));
        std::fs::write(&file, outside).unwrap();
        let graph = simulator.graph_url();
        let more = [
            ("GRAPH", graph.as_str()),
            ("SECRET", SECRET),
            ("OLD", "a-secret-of-old"),
            ("PEM", &pem),
            ("PFX", &pfx),
            ("PASSPHRASE", "geheim"),
            ("TOKEN_FILE", &file),
        ];
        let yaml = YAML.replace("PROOF", &format!("{proof}, {asks}"));
        let house = House::around(simulator, &yaml, &more).await;
        for version in [TokenSpec::v1, TokenSpec::v2] {
            let token = house.simulator.issue(&version(TokenSpec::user()));
            let request = Request::get("/me").header("authorization", format!("Bearer {token}"));
            let answer = house.send(request.body("").unwrap()).await;
            assert_eq!(answer.status, 200, "{proof}, {asks}: {:?}", answer.body);
            assert_eq!(answer.problem("id"), DEMO_USER);
            let asked = house.simulator.token_requests();
            let last = asked.last().unwrap();
            assert_eq!(last.field("assertion"), Some(token.as_str()));
            assert_eq!(seen(last), expected, "{proof}, {asks}");
        }
        // The second caller's costs one request whatever the first one's did.
        let asked = house.simulator.token_requests().len();
        assert_eq!(asked, requests + 1, "{proof}, {asks}");
    }
}
