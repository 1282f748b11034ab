//! `flowgate doctor` for every kind of credential: with everything as it should be, and with one thing wrong at a time.
//!
//! Each report names the one thing in words that say whose it is and what to change; nothing secret is in any of them.

use simulator::directory::{
    DEMO_TENANT, DEMO_USER, GATEWAY_APP, GATEWAY_OBJECT, PUBLIC_APP, SERVICE_USER,
};
use simulator::flow::FLOW_AUDIENCE;
use simulator::{
    Ended, Fault, FaultPoint, Federated, Mode, Person, Service, Simulator, Times, TokenSpec,
    UserState,
};

use crate::canaries::Canaries;
use crate::certificates::Workshop;
use crate::credentials::{PASSWORD, SECRET, provision};
use crate::doctor::Said;
use crate::house::{self, House, KEY};
use crate::process::{Process, text};
use crate::sign_in::{ended, follow};

const YAML: &str = r#"
server: { listen: "127.0.0.1:8080" }
defaults: { entra: { tenant: "${TENANT}", authority: "${AUTHORITY}" } }
callers: { erp: { api_key: { plain: { env: ERP_KEY } } } }
credentials:
  c: { CREDENTIAL }
flows:
  f:
    url: { env: ORDER_CREATED_URL }
    who_can_trigger: [erp]
    credential: c
    trigger: { mode: users, tenant: "${TENANT}", object_ids: ["${OBJECT}"], method: POST }
"#;

const STORE_KEY: &str = "6f1d8a0c4b7e92355a0d3c1b9f8e7d6c5b4a39281706f5e4d3c2b1a0998877ff";

const BY_SECRET: &str =
    r#"client_secret: { client_id: "${GATEWAY_APP}", secret: { env: SECRET } }"#;
const BY_CERTIFICATE: &str =
    r#"client_certificate: { client_id: "${GATEWAY_APP}", certificate: { env: PEM } }"#;
const BY_CLUSTER: &str =
    r#"workload_identity: { client_id: "${GATEWAY_APP}", token_file: "${TOKEN_FILE}" }"#;
const BY_MACHINE: &str = "managed_identity: {}";
const BY_PASSWORD: &str = r#"password: { client_id: "${PUBLIC_APP}", username: user@flowgate.example, password: { env: PASSWORD } }"#;
const BY_SIGN_IN: &str = r#"refresh_token: { client_id: "${PUBLIC_APP}", store: { file: "${FOLDER}/c.token" }, store_key: { env: STORE_KEY } }"#;
const FIXED: &str = "bearer: { token: { env: TOKEN } }";

/// A simulator where every kind works, and what its configuration reads.
struct Ward {
    shop: Workshop,
    simulator: Simulator,
    variables: Vec<(String, String)>,
}

impl Ward {
    async fn open() -> Self {
        let simulator = House::simulator().await;
        let shop = Workshop::open();
        provision(&simulator, &shop);
        let environment = house::environment(&simulator, &[]);
        let from_house = ["TENANT", "AUTHORITY", "GATEWAY_APP", "ORDER_CREATED_URL"];
        let read = |name| std::fs::read_to_string(shop.path(name)).unwrap();
        let mut variables: Vec<(String, String)> = from_house
            .map(|name| (name.to_owned(), environment.value(name).unwrap()))
            .into();
        variables.extend(
            [
                ("OBJECT", GATEWAY_OBJECT.to_owned()),
                ("PUBLIC_APP", PUBLIC_APP.to_owned()),
                ("ERP_KEY", KEY.to_owned()),
                ("SECRET", SECRET.to_owned()),
                ("PASSWORD", PASSWORD.to_owned()),
                ("STORE_KEY", STORE_KEY.to_owned()),
                ("PEM", read("app.key") + &read("app.crt")),
                ("TOKEN_FILE", text(&shop.path("token")).to_owned()),
                ("FOLDER", text(&shop.path("")).to_owned()),
                ("GRAPH", simulator.graph_url()),
                ("AZURE_POD_IDENTITY_AUTHORITY_HOST", simulator.origin()),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        let ward = Self {
            shop,
            simulator,
            variables,
        };
        let fixed = ward.fixed_token(3000);
        ward.with("TOKEN", &fixed)
    }

    /// A token the flow takes, made elsewhere.
    fn fixed_token(&self, life: i64) -> String {
        let spec = TokenSpec::app()
            .v1()
            .client(GATEWAY_APP)
            .object(GATEWAY_OBJECT);
        self.simulator
            .issue(&spec.audience(FLOW_AUDIENCE).lifetime(life))
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.set(name, value);
        self
    }

    fn set(&mut self, name: &str, value: &str) {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// The service account signs in, as its person would.
    async fn sign_in(&self) {
        self.simulator
            .sign_in_as(Person::User(SERVICE_USER.to_owned()));
        let file = self.shop.path("sign-in.yaml");
        std::fs::write(&file, YAML.replace("CREDENTIAL", BY_SIGN_IN)).unwrap();
        let arguments = ["sign-in", "--config", text(&file), "c"];
        let mut process = Process::start(&arguments, &self.variables);
        let address = process.line("http");
        assert_eq!(follow(&address).await.status, 200);
        let (exit, said) = ended(process);
        assert_eq!(exit, 0, "{said}");
    }

    /// What the doctor says of this credential. Nothing that was sent to prove anything may be in it, nor anything that was read.
    #[track_caller]
    fn examined(&self, credential: &str) -> Said {
        self.of(&YAML.replace("CREDENTIAL", credential))
    }

    #[track_caller]
    fn of(&self, yaml: &str) -> Said {
        let mut canaries = Canaries::default();
        for name in ["SECRET", "PASSWORD", "STORE_KEY", "TOKEN", "ERP_KEY"] {
            let known = self.variables.iter().find(|(known, _)| known == name);
            // An ID in the secret's place is no secret, but nobody can know that it is only that.
            canaries.watch(name, &known.unwrap().1);
        }
        if let Ok(token) = std::fs::read_to_string(self.shop.path("token")) {
            canaries.watch("the cluster's token", &token);
        }
        let said = Said::by(yaml, &[], &self.variables, &canaries);
        let mut sent = Canaries::default();
        for request in self.simulator.token_requests() {
            for field in [
                "client_secret",
                "password",
                "refresh_token",
                "client_assertion",
            ] {
                if let Some(value) = request.field(field).filter(|value| value.len() > 5) {
                    sent.watch(field, value);
                }
            }
        }
        for request in self.simulator.received() {
            if let Some(token) = request.header("authorization") {
                sent.watch("a token", token.trim_start_matches("Bearer "));
            }
        }
        sent.absent_from("the report", &said.text);
        assert_eq!(self.simulator.runs("order-created"), 0, "{}", said.text);
        said
    }
}

/// Each kind, and whose object id its tokens carry.
const KINDS: [(&str, &str); 7] = [
    (BY_SECRET, GATEWAY_OBJECT),
    (BY_CERTIFICATE, GATEWAY_OBJECT),
    (BY_CLUSTER, GATEWAY_OBJECT),
    (BY_MACHINE, GATEWAY_OBJECT),
    (BY_PASSWORD, DEMO_USER),
    (BY_SIGN_IN, SERVICE_USER),
    (FIXED, GATEWAY_OBJECT),
];

#[tokio::test(flavor = "multi_thread")]
async fn of_each_kind_the_token_is_shown_and_compared_with_what_the_trigger_wants() {
    let mut ward = Ward::open().await;
    ward.sign_in().await;
    for (credential, object) in KINDS {
        ward.set("OBJECT", object);
        let said = ward.examined(credential);
        assert_eq!(said.code, 0, "{}", said.text);
        let listed = format!("has to list this object id: {object}");
        let expected = [
            "everything it needs can be read",
            ", good until 20",
            "aud   https://service.flow.microsoft.com/",
            "ver   1.0",
            "exp   20",
            &listed,
            "verdict: ok",
        ];
        said.has("credential c", &expected);
        said.has(
            "flow f",
            &[
                "the token's aud, tid and iss, oid is what the flow is known to want",
                "verdict: ok",
            ],
        );
        assert!(said.text.ends_with("Nothing is known to be wrong.\n"));

        // The flow lists somebody else, and the configuration knows whom.
        let other = "99990000-0000-4000-8000-000000000009";
        ward.set("OBJECT", other);
        ward.simulator.set_flow("order-created", |flow| {
            flow.mode = Mode::Users(vec![other.to_owned()]);
        });
        let said = ward.examined(credential);
        assert_eq!(said.code, 1, "{}", said.text);
        said.has("credential c", &["verdict: ok"]);
        let differs = format!("oid is {object:?}, the flow's `trigger:` lists {other}");
        let expected = [&differs, "MisMatchingOAuthClaims", "wrong (configuration)"];
        said.has("flow f", &expected);
        ward.simulator.set_flow("order-created", |flow| {
            flow.mode = Mode::Tenant;
        });
    }
}

/// A credential, what is done to it, and what its section has to say.
type Case<'c> = (&'c str, &'c str, &'c dyn Fn(&mut Ward), &'c [&'c str]);

/// The same of the one kind that somebody signs in for.
type Prepared<'c> = (&'c str, &'c dyn Fn(&mut Ward), &'c [&'c str]);

async fn told(cases: &[Case<'_>]) {
    for (what, credential, prepare, expected) in cases {
        let mut ward = Ward::open().await;
        prepare(&mut ward);
        let said = ward.examined(credential);
        assert_eq!(said.code, 1, "{what}: {}", said.text);
        said.has("credential c", expected);
        let flow = said.of("flow f");
        assert!(flow.contains("see its credential above"), "{what}: {flow}");
    }
}

fn app(ward: &Ward, change: impl FnOnce(&mut simulator::App)) {
    ward.simulator.set_app(DEMO_TENANT, GATEWAY_APP, change);
}

fn user(ward: &Ward, state: UserState) {
    ward.simulator
        .set_user(DEMO_TENANT, DEMO_USER, |user| user.state = state);
}

fn down(ward: &Ward, place: FaultPoint, fault: Fault) {
    ward.simulator.fault(place, fault, Times::Always);
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
async fn each_way_an_application_is_refused_is_reported_with_fault_and_fix() {
    let scope = BY_SECRET.replace("} }", r#"}, scope: "api://nobody/.default" }"#);
    let expired = |ward: &mut Ward| {
        app(ward, |app| app.secrets[0].expired = true);
    };
    told(&[
        (
            "wrong secret",
            BY_SECRET,
            &|ward| ward.set("SECRET", "not-the-secret-of-it"),
            &[
                "AADSTS7000215: ",
                "secret",
                "verdict: wrong (configuration): ",
            ],
        ),
        (
            "expired secret",
            BY_SECRET,
            &expired,
            &["AADSTS7000222: ", "expired", "wrong (configuration): "],
        ),
        (
            "unknown scope",
            &scope,
            &|_| (),
            &["scope api://nobody/.default", "AADSTS500011: ", "wrong ("],
        ),
        (
            "certificate not registered",
            BY_CERTIFICATE,
            &|ward| app(ward, |app| app.certificates.clear()),
            &["AADSTS700027: ", "certificate", "wrong (configuration): "],
        ),
        (
            "federation for another subject",
            BY_CLUSTER,
            &|ward| {
                app(ward, |app| {
                    app.federated = vec![Federated::cluster("other")];
                });
            },
            &[
                "AADSTS700213: ",
                "wrong (identity provider): register exactly",
            ],
        ),
        (
            "no federated token",
            BY_CLUSTER,
            &|ward| std::fs::remove_file(ward.shop.path("token")).unwrap(),
            &[
                "the file of its token or secret is gone, empty or may not be read",
                "wrong (configuration): see that the file is there",
            ],
        ),
        (
            "no managed identity",
            BY_MACHINE,
            &|ward| ward.simulator.set_identities(Vec::new()),
            &[
                "no_managed_identity",
                "wrong (configuration): assign a managed identity",
            ],
        ),
        (
            "metadata service down",
            BY_MACHINE,
            &|ward| down(ward, FaultPoint::At(Service::Imds), Fault::Unavailable),
            &["provider_error", "wrong (identity provider): "],
        ),
        (
            "a fixed token that has ended",
            FIXED,
            &|ward| {
                let token = ward.fixed_token(-60);
                ward.set("TOKEN", &token);
            },
            &["token_expired", "wrong (configuration): "],
        ),
        (
            "provider down",
            BY_SECRET,
            &|ward| down(ward, FaultPoint::Token, Fault::Unavailable),
            &[
                "provider_error",
                "wrong (identity provider): the identity provider has a problem",
            ],
        ),
        (
            "provider throttles",
            BY_SECRET,
            &|ward| {
                down(
                    ward,
                    FaultPoint::Token,
                    Fault::Throttled { retry_after: None },
                );
            },
            &[
                "the identity provider throttles (throttled)",
                "wrong (identity provider): ",
            ],
        ),
        (
            "provider out of reach",
            BY_SECRET,
            &|ward| ward.set("AUTHORITY", "http://127.0.0.1:9"),
            &["(refused)", "wrong (network): "],
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secrets_id_in_place_of_the_secret_is_named_before_anybody_is_asked() {
    let ward = Ward::open()
        .await
        .with("SECRET", "8f3b0000-0000-4000-8000-0000000000aa");
    let said = ward.examined(BY_SECRET);
    assert_eq!(said.code, 2, "{}", said.text);
    assert!(
        said.text
            .contains("the form of the secret's ID, not of the secret")
    );
    assert!(ward.simulator.token_requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_way_a_password_fails_is_reported_with_fault_and_fix() {
    told(&[
        (
            "wrong password",
            BY_PASSWORD,
            &|ward| ward.set("PASSWORD", "not-the-password-of-it"),
            &["AADSTS50126: ", "wrong (identity provider): "],
        ),
        (
            "second factor",
            BY_PASSWORD,
            &|ward| user(ward, UserState::MfaRequired),
            &[
                "AADSTS50076: multi-factor authentication is required",
                "suberror basic_action: a person can settle it",
                "use `refresh_token` with `flowgate sign-in`",
            ],
        ),
        (
            "conditional access",
            BY_PASSWORD,
            &|ward| user(ward, UserState::ConditionalAccess),
            &[
                "AADSTS53003: ",
                "suberror message_only: ",
                "wrong (identity provider): ",
            ],
        ),
        (
            "expired password",
            BY_PASSWORD,
            &|ward| user(ward, UserState::PasswordExpired),
            &[
                "AADSTS50055: ",
                "suberror user_password_expired",
                "set a new password",
            ],
        ),
        (
            "locked",
            BY_PASSWORD,
            &|ward| user(ward, UserState::Locked),
            &["AADSTS50053: ", "wrong (identity provider): "],
        ),
        (
            "no consent",
            BY_PASSWORD,
            &|ward| user(ward, UserState::ConsentRequired),
            &[
                "AADSTS65001: ",
                "suberror consent_required",
                "wrong (identity provider): ",
            ],
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_to_sign_in_gets_the_whole_command() {
    told(&[(
        "never signed in",
        BY_SIGN_IN,
        &|_| (),
        &[
            "never_signed_in",
            "wrong (configuration): run `flowgate sign-in --config /",
        ],
    )])
    .await;
    let sessions = |ended| move |ward: &mut Ward| ward.simulator.end_sessions(SERVICE_USER, ended);
    let blocked = |ward: &mut Ward| {
        ward.simulator.set_user(DEMO_TENANT, SERVICE_USER, |user| {
            user.state = UserState::ConditionalAccess;
        });
    };
    let cut = |ward: &mut Ward| {
        let store = ward.shop.path("c.token");
        let whole = std::fs::read(&store).unwrap();
        std::fs::write(&store, &whole[..whole.len() / 2]).unwrap();
    };
    let cases: [Prepared<'_>; 7] = [
        (
            "unused",
            &sessions(Ended::Inactive),
            &[
                "AADSTS700082: ",
                "sign in again with `flowgate sign-in --config /",
            ],
        ),
        (
            "revoked",
            &sessions(Ended::Revoked),
            &[
                "AADSTS50173: ",
                "sign in again with `flowgate sign-in --config /",
            ],
        ),
        (
            "sign-in frequency",
            &sessions(Ended::SignInFrequency),
            &[
                "AADSTS70043: ",
                "suberror token_expired: ",
                "wrong (identity provider): ",
            ],
        ),
        (
            "blocked",
            &blocked,
            &[
                "AADSTS53003: ",
                "no sign-in helps",
                "exclude the account from the policy",
            ],
        ),
        (
            "another key",
            &|ward| ward.set("STORE_KEY", &"ab".repeat(32)),
            &[
                "store_key_wrong",
                "`flowgate sign-in --config /",
                "c --replace-account`",
            ],
        ),
        (
            "cut short",
            &cut,
            &[
                "store_truncated",
                "run `flowgate sign-in --config /",
                "c --replace-account`: ",
            ],
        ),
        (
            "the provider is down",
            &|ward| down(ward, FaultPoint::Token, Fault::Unavailable),
            &[
                "provider_error",
                "wrong (identity provider): the identity provider has a problem",
            ],
        ),
    ];
    for (what, prepare, expected) in cases {
        let mut ward = Ward::open().await.with("OBJECT", SERVICE_USER);
        ward.sign_in().await;
        prepare(&mut ward);
        let said = ward.examined(BY_SIGN_IN);
        assert_eq!(said.code, 1, "{what}: {}", said.text);
        said.has("credential c", expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_graph_it_says_who_is_not_accepted_and_what_is_not_allowed() {
    let graph = YAML.replace("url: { env: ORDER_CREATED_URL }", r#"url: "${GRAPH}/me""#);
    let trigger = r#"    trigger: { mode: users, tenant: "${TENANT}", object_ids: ["${OBJECT}"], method: POST }"#;
    let graph = graph.replace(trigger, "    methods: [GET]");
    let ask = |credential: &str, scope: &str| {
        let (head, tail) = credential.rsplit_once('}').unwrap();
        graph.replace(
            "CREDENTIAL",
            &format!("{head}, scope: \"{scope}\" }}{tail}"),
        )
    };
    let ward = Ward::open().await;
    let delegated = ask(BY_PASSWORD, "https://graph.microsoft.com/.default");
    let said = ward.of(&delegated);
    assert_eq!(said.code, 0, "{}", said.text);
    let claims = ["aud   https://graph.microsoft.com", "scp   ", "User.Read"];
    said.has(
        "credential c, scope https://graph.microsoft.com/.default",
        &claims,
    );
    said.has(
        "flow f",
        &["asked with GET: it answered 200", "verdict: ok"],
    );

    let alone = ask(BY_SECRET, "https://graph.microsoft.com/.default");
    let said = ward.of(&alone);
    assert_eq!(said.code, 1, "{}", said.text);
    let denied = [
        "asked with GET: it answered 403",
        "wrong (identity provider): it knows the gateway and does not allow this",
        "grant the permission",
    ];
    said.has("flow f", &denied);

    let wrong = ask(BY_SECRET, "https://service.flow.microsoft.com//.default");
    let said = ward.of(&wrong);
    assert_eq!(said.code, 1, "{}", said.text);
    said.has(
        "flow f",
        &[
            "it answered 401",
            "wrong (configuration): it does not accept the token",
        ],
    );

    down(&ward, FaultPoint::At(Service::Graph), Fault::Unavailable);
    let said = ward.of(&delegated);
    said.has("flow f", &["it answered 503", "verdict: inconclusive"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_exchanges_a_callers_token_has_its_secret_examined_all_the_same() {
    let yaml = YAML
        .replace(
            "CREDENTIAL",
            r#"on_behalf_of: { client_id: "${GATEWAY_APP}", secret: { env: SECRET } }"#,
        )
        .replace(
            "erp: { api_key: { plain: { env: ERP_KEY } } }",
            r#"erp: { entra: { audience: ["api://${GATEWAY_APP}", "${GATEWAY_APP}"] } }"#,
        );
    let mut ward = Ward::open().await;
    let said = ward.of(&yaml);
    assert_eq!(said.code, 0, "{}", said.text);
    let without = "cannot be tried without a caller";
    said.has(
        "credential c",
        &["everything it needs can be read", without, "inconclusive"],
    );
    ward.variables.retain(|(name, _)| name != "SECRET");
    let canaries = Canaries::default();
    let said = Said::by(&yaml, &[], &ward.variables, &canaries);
    assert_eq!(said.code, 1, "{}", said.text);
    let missing = "the environment variable is not set";
    said.has("credential c", &[missing, "wrong (configuration)"]);
    assert!(ward.simulator.token_requests().is_empty());
}
