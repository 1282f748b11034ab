//! Credentials that prove themselves by a certificate or by another issuer's token: from the file to the flow.

use std::path::{Path, PathBuf};
use std::process::Command;

use http::{Request, StatusCode};
use simulator::{Certificate, Federated, OutsideToken, Simulator, directory};

use crate::house::{Answer, House, KEY, eventually};
use crate::provider::Provider;
use crate::tools;

/// A folder in which OpenSSL makes certificates.
pub struct Workshop(tempfile::TempDir);

impl Workshop {
    pub fn open() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn run(&self, arguments: &str) {
        let output = tools::output(
            Command::new("openssl")
                .args(arguments.split_whitespace())
                .current_dir(self.0.path()),
        );
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A new key with its certificate, and both as `NAME.pfx`.
    pub fn certificate(&self, name: &str, key: &str) {
        self.run(&format!("genpkey {key} -out {name}.key"));
        self.run(&format!(
            "req -x509 -key {name}.key -subj /CN={name} -days 100 -out {name}.crt"
        ));
        self.run(&format!(
            "pkcs12 -export -inkey {name}.key -in {name}.crt -passout pass:geheim -out {name}.pfx"
        ));
    }

    pub fn registered(&self, name: &str) -> Certificate {
        let text = std::fs::read_to_string(self.path(&format!("{name}.crt"))).unwrap();
        Certificate::from_pem(&text).unwrap()
    }
}

pub const RSA: &str = "-algorithm RSA -pkeyopt rsa_keygen_bits:2048";
const EC: &str = "-algorithm EC -pkeyopt ec_paramgen_curve:P-256";

fn yaml(credential: &str, url: &str) -> String {
    format!(
        r#"
server: {{ listen: "127.0.0.1:8080" }}
defaults: {{ entra: {{ tenant: "${{TENANT}}" }} }}
callers:
  erp: {{ api_key: {{ plain: {{ env: ERP_KEY }} }} }}
credentials:
  c: {{ {credential} }}
flows:
  f: {{ url: {url}, who_can_trigger: [erp], credential: c }}
"#
    )
}

fn from_file(file: &Path) -> String {
    let file = file.display();
    format!(
        "client_certificate: {{ authority: \"${{AUTHORITY}}\", client_id: \"${{GATEWAY_APP}}\", \
         certificate: {{ file: \"{file}\" }}, passphrase: {{ env: PASSPHRASE }} }}"
    )
}

async fn fire(house: &House) -> Answer {
    let request = Request::post("/f").header("x-api-key", KEY);
    house.send(request.body("{}").unwrap()).await
}

fn register(simulator: &Simulator, certificates: Vec<Certificate>) {
    simulator.set_app(directory::DEMO_TENANT, directory::GATEWAY_APP, |app| {
        app.secrets.clear();
        app.certificates = certificates;
    });
}

#[tokio::test]
async fn a_renewed_certificate_is_used_after_the_reload_although_the_old_token_is_valid() {
    let shop = Workshop::open();
    shop.certificate("old", RSA);
    shop.certificate("new", RSA);
    let file = shop.path("app.pfx");
    std::fs::copy(shop.path("old.pfx"), &file).unwrap();
    let simulator = House::simulator().await;
    register(
        &simulator,
        vec![shop.registered("old"), shop.registered("new")],
    );
    let yaml = yaml(&from_file(&file), "{ env: ORDER_CREATED_URL }");
    let house = House::around(simulator, &yaml, &[("PASSPHRASE", "geheim")]).await;
    assert_eq!(fire(&house).await.status, StatusCode::OK);
    let expiry = || {
        house.metric(
            "flowgate_secret_expiry_timestamp_seconds",
            &[("credential", "c")],
        )
    };
    assert!(expiry() > 0.0);
    house.reload(&yaml);
    assert_eq!(fire(&house).await.status, StatusCode::OK);
    assert_eq!(
        house.simulator.token_requests().len(),
        1,
        "nothing has changed"
    );
    std::fs::copy(shop.path("new.pfx"), &file).unwrap();
    register(&house.simulator, vec![shop.registered("new")]);
    house.reload(&yaml);
    assert_eq!(fire(&house).await.status, StatusCode::OK);
    eventually(|| house.simulator.token_requests().len() == 2).await;
    let requests = house.simulator.token_requests();
    let header = |at: usize| {
        let assertion = requests[at].field("client_assertion").unwrap();
        assertion.split('.').next().unwrap().to_owned()
    };
    assert_ne!(header(0), header(1), "it names the certificate");
}

#[tokio::test]
async fn a_certificate_that_is_not_registered_is_a_rejected_credential() {
    let shop = Workshop::open();
    shop.certificate("app", RSA);
    let yaml = yaml(
        &from_file(&shop.path("app.pfx")),
        "{ env: ORDER_CREATED_URL }",
    );
    let house = House::around(House::simulator().await, &yaml, &[("PASSPHRASE", "geheim")]).await;
    let answer = fire(&house).await;
    assert_eq!(
        (answer.status.as_u16(), answer.code().as_str()),
        (502, "credential_rejected")
    );
    assert_eq!(house.simulator.received().len(), 0);
}

#[tokio::test]
async fn an_empty_workload_identity_works_by_what_the_webhook_sets() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("azure-identity-token");
    let simulator = House::simulator().await;
    simulator.set_app(directory::DEMO_TENANT, directory::GATEWAY_APP, |app| {
        app.secrets.clear();
        app.federated
            .push(Federated::cluster("system:serviceaccount:flows:flowgate"));
    });
    let token = OutsideToken::new("system:serviceaccount:flows:flowgate");
    std::fs::write(&file, simulator.outside_token(&token)).unwrap();
    let (host, file) = (simulator.origin() + "/", file.display().to_string());
    let variables = [
        ("AZURE_TENANT_ID", directory::DEMO_TENANT),
        ("AZURE_CLIENT_ID", directory::GATEWAY_APP),
        ("AZURE_FEDERATED_TOKEN_FILE", &file),
        ("AZURE_AUTHORITY_HOST", &host),
    ];
    let yaml = yaml("workload_identity: {}", "{ env: ORDER_CREATED_URL }");
    let house = House::around(simulator, &yaml, &variables).await;
    assert_eq!(fire(&house).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_real_provider_takes_assertions_of_every_algorithm() {
    let shop = Workshop::open();
    shop.certificate("rsa", RSA);
    shop.certificate("ec", EC);
    let (rsa, ec) = (shop.path("rsa.crt"), shop.path("ec.crt"));
    let certificates = [("PS256", &*rsa), ("RS256", &*rsa), ("ES256", &*ec)];
    let Some(provider) = Provider::start_with(&certificates) else {
        return;
    };
    for (algorithm, name, chain) in [
        ("PS256", "rsa", false),
        ("RS256", "rsa", false),
        ("ES256", "ec", false),
        ("PS256", "rsa", true),
    ] {
        let file = shop.path(&format!("{name}.pfx"));
        let (url, file) = (provider.token_url(), file.display());
        let credential = format!(
            "client_certificate: {{ token_url: '{url}', client_id: certified-{algorithm}, scope: call, \
             certificate: {{ file: '{file}' }}, passphrase: {{ env: PASSPHRASE }}, \
             algorithm: {algorithm}, send_chain: {chain} }}"
        );
        let yaml = yaml(&credential, "\"${AUTHORITY}/elsewhere/1\"");
        let house =
            House::around(House::simulator().await, &yaml, &[("PASSPHRASE", "geheim")]).await;
        // The simulator knows no such path and says so; what counts is that the call got there with a token.
        let answer = fire(&house).await;
        assert_eq!(
            answer.status,
            StatusCode::NOT_FOUND,
            "{algorithm} {answer:?}"
        );
        let received = house.simulator.received();
        let token = received.last().unwrap().header("authorization");
        assert!(token.is_some_and(|token| token.starts_with("Bearer ey")));
    }
}
