//! Which cells are shared, kept and forgotten.

use std::collections::BTreeMap;

use super::*;
use crate::client;
use crate::clock::{Clock, Random};
use crate::credential::Application;
use crate::credential::client_secret::{self, ClientAuth};
use crate::credential::proof::Proof;
use crate::metrics::Metrics;
use crate::secret::{Secret, Value};
use crate::simulator::{Options, Simulator, directory};

fn cells() -> Cells {
    Cells::new(Surroundings {
        clock: Clock::system(),
        random: Random::system(),
        metrics: Metrics::new().unwrap(),
    })
}

fn outbound_settings() -> client::Settings {
    client::Settings {
        ca: Vec::new(),
        proxy: None,
        no_proxy: Vec::new(),
        insecure_hosts: Vec::new(),
        connect_timeout: Duration::from_secs(5),
        token_timeout: Duration::from_secs(10),
        believe_simulator: true,
    }
}

fn settings(simulator: &Simulator) -> Settings {
    let url = simulator.token_url(directory::DEMO_TENANT, true);
    Settings {
        name: "flows".into(),
        kind: Kind::ClientCredentials(Application {
            token_url: url.parse().unwrap(),
            client_id: directory::GATEWAY_APP.to_owned(),
            proof: proof(
                &simulator.client_secret(directory::GATEWAY_APP),
                ClientAuth::Post,
            ),
            parameters: BTreeMap::new(),
            entra: true,
        }),
        ask: None,
        expires: None,
    }
}

fn proof(secret: &str, client_auth: ClientAuth) -> Proof {
    Proof::Secret(client_secret::Settings {
        secret: Value::Fixed(Secret::new(secret.to_owned())),
        next: None,
        client_auth,
    })
}

fn ask() -> Ask {
    Ask::Scope("https://service.flow.microsoft.com//.default".into())
}

#[tokio::test]
async fn an_unchanged_credential_stays_warm_across_a_reload() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let (cells, outbound) = (cells(), Outbound::new(&outbound_settings()).unwrap());
    let before = cells.cell(&settings(&simulator), &ask(), &outbound);
    before.token().await.unwrap();
    let outbound = outbound.with(&outbound_settings()).unwrap();
    let mut reloaded = settings(&simulator);
    reloaded.expires = Some(1_900_000_000);
    let after = cells.cell(&reloaded, &ask(), &outbound);
    assert!(Arc::ptr_eq(&before, &after));
    assert_eq!(simulator.token_requests().len(), 1);
}

#[tokio::test]
async fn a_cell_nobody_uses_any_more_is_forgotten_with_its_gauge() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let (cells, outbound) = (cells(), Outbound::new(&outbound_settings()).unwrap());
    let cell = cells.cell(&settings(&simulator), &ask(), &outbound);
    cell.token().await.unwrap();
    let health = cells.health();
    assert_eq!((health.len(), &*health[0].credential), (1, "flows"));
    assert!(health[0].expires.is_some() && health[0].tried && cells.first_tried());
    let gauge = "flowgate_token_expiry_timestamp_seconds{";
    assert!(cells.around.metrics.text().unwrap().contains(gauge));
    drop(cell);
    assert!(cells.health().is_empty());
    assert!(!cells.around.metrics.text().unwrap().contains(gauge));
}

#[tokio::test]
async fn a_cell_is_not_tried_before_its_first_attempt_has_ended() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let gate = crate::simulator::Gate::closed();
    let held = crate::simulator::Fault::Held(gate.clone());
    simulator.fault(
        crate::simulator::Place::Token,
        held,
        crate::simulator::Times::Once,
    );
    let (cells, outbound) = (cells(), Outbound::new(&outbound_settings()).unwrap());
    let cell = cells.cell(&settings(&simulator), &ask(), &outbound);
    simulator
        .until(|simulator| simulator.token_requests().len() == 1)
        .await;
    assert!(!cells.first_tried());
    gate.open();
    cells.tried().await;
    assert!(cells.first_tried() && cell.ready().is_some());
}

mod rule_21_outbound_trust {
    use super::*;

    #[tokio::test]
    async fn a_changed_way_out_means_new_clients_and_new_cells() {
        let simulator = Simulator::start(Options::default()).await.unwrap();
        let (cells, outbound) = (cells(), Outbound::new(&outbound_settings()).unwrap());
        let before = cells.cell(&settings(&simulator), &ask(), &outbound);
        let changed = client::Settings {
            insecure_hosts: vec!["erp.plant".into()],
            ..outbound_settings()
        };
        let changed = outbound.with(&changed).unwrap();
        assert!(!outbound.same(&changed));
        let after = cells.cell(&settings(&simulator), &ask(), &changed);
        assert!(!Arc::ptr_eq(&before, &after));
    }
}

mod rule_22_keys {
    use proptest::prelude::*;

    use super::*;
    use crate::credential::assertion::Manner;
    use crate::credential::certificate::Algorithm;
    use crate::credential::{client_certificate, federated};

    /// Small pools of near-equal parts, so that two draws often differ in one input alone.
    fn part() -> impl Strategy<Value = String> {
        prop::sample::select(vec!["", "a", "b", "ab", "a b", "a\u{0}b", "A"])
            .prop_map(str::to_owned)
    }

    fn asked() -> impl Strategy<Value = Ask> {
        prop_oneof![part().prop_map(Ask::Scope), part().prop_map(Ask::Resource)]
    }

    fn value(text: String) -> Value {
        Value::Fixed(Secret::new(text))
    }

    #[derive(Clone)]
    struct Proven(Proof);

    impl std::fmt::Debug for Proven {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(&told(&self.0))
        }
    }

    fn proofs() -> impl Strategy<Value = Proven> {
        let secret = (part(), prop::option::of(part()), any::<bool>());
        let secret = secret.prop_map(|(secret, next, basic)| {
            Proven(Proof::Secret(client_secret::Settings {
                secret: value(secret),
                next: next.map(value),
                client_auth: if basic {
                    ClientAuth::Basic
                } else {
                    ClientAuth::Post
                },
            }))
        });
        let algorithm = prop::sample::select(vec![Algorithm::Ps256, Algorithm::Rs256]);
        let certificate = (part(), prop::option::of(part()), algorithm, any::<bool>());
        let certificate =
            certificate.prop_map(|(certificate, passphrase, algorithm, send_chain)| {
                Proven(Proof::Certificate(client_certificate::Settings {
                    certificate: value(certificate),
                    passphrase: passphrase.map(value),
                    manner: Manner {
                        algorithm,
                        send_chain,
                    },
                }))
            });
        let federated = part()
            .prop_map(|file| Proven(Proof::Federated(federated::Settings { file: file.into() })));
        prop_oneof![secret, certificate, federated, Just(Proven(Proof::Nothing))]
    }

    /// Every input of a proof, in words.
    fn told(proof: &Proof) -> String {
        let word = |value: &Value| {
            let Value::Fixed(secret) = value;
            secret.expose().clone()
        };
        match proof {
            Proof::Secret(own) => {
                let next = own.next.as_ref().map(word);
                format!("{:?}", ("secret", word(&own.secret), next, own.client_auth))
            }
            Proof::Certificate(own) => {
                let passphrase = own.passphrase.as_ref().map(word);
                let text = word(&own.certificate);
                format!("{:?}", ("certificate", text, passphrase, own.manner))
            }
            Proof::Federated(own) => format!("{:?}", ("federated", &own.file)),
            Proof::Nothing => "nothing".to_owned(),
        }
    }

    prop_compose! {
        fn drawn()(
            name in part(),
            url in prop::sample::select(vec!["https://a.example/t", "https://a.example/T", "https://b.example/t"]),
            client_id in part(),
            proof in proofs(),
            parameters in prop::collection::btree_map(part(), part(), 0..3),
            entra in any::<bool>(),
            ask in asked(),
        ) -> Drawn {
            let kind = Kind::ClientCredentials(Application {
                token_url: url.parse().unwrap(),
                client_id,
                proof: proof.0,
                parameters,
                entra,
            });
            Drawn(Settings { name: name.into(), kind, ask: None, expires: None }, ask)
        }
    }

    #[derive(Clone)]
    struct Drawn(Settings, Ask);

    /// Every input, written out independently of the key.
    impl std::fmt::Debug for Drawn {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            let Kind::ClientCredentials(own) = &self.0.kind;
            f.debug_list()
                .entry(&self.0.name)
                .entry(&own.token_url.as_str())
                .entry(&own.client_id)
                .entry(&told(&own.proof))
                .entry(&own.parameters)
                .entry(&own.entra)
                .entry(&self.1)
                .finish()
        }
    }

    /// Changes the proof itself, or how it is presented.
    fn change(proof: &mut Proof, manner: bool) {
        match proof {
            Proof::Secret(own) if manner => {
                own.client_auth = match own.client_auth {
                    ClientAuth::Basic => ClientAuth::Post,
                    ClientAuth::Post => ClientAuth::Basic,
                };
            }
            Proof::Secret(own) => own.next = other(own.next.as_ref()),
            Proof::Certificate(own) if manner => own.manner.send_chain = !own.manner.send_chain,
            Proof::Certificate(own) => own.passphrase = other(own.passphrase.as_ref()),
            Proof::Federated(own) => own.file.push("x"),
            Proof::Nothing => *proof = self::proof("", ClientAuth::Post),
        }
    }

    fn other(before: Option<&Value>) -> Option<Value> {
        before.is_none().then(|| value(String::new()))
    }

    proptest! {
        #[test]
        fn two_credentials_share_a_cell_only_when_every_input_is_equal(one in drawn(), other in drawn()) {
            let same = Key::new(&one.0, &one.1) == Key::new(&other.0, &other.1);
            prop_assert_eq!(same, format!("{one:?}") == format!("{other:?}"));
        }

        #[test]
        fn one_changed_input_alone_makes_another_cell(base in drawn(), which in 0_usize..8) {
            let mut changed = base.clone();
            let Kind::ClientCredentials(own) = &mut changed.0.kind;
            match which {
                0 => changed.0.name = format!("{}x", changed.0.name).into(),
                1 => own.token_url.set_path("/other"),
                2 => own.client_id.push('x'),
                3 => change(&mut own.proof, false),
                4 => change(&mut own.proof, true),
                5 => { own.parameters.insert("x".into(), "x".into()); }
                6 => own.entra = !own.entra,
                _ => changed.1 = match changed.1 {
                    Ask::Scope(text) => Ask::Resource(text),
                    Ask::Resource(text) => Ask::Scope(text),
                },
            }
            prop_assert!(Key::new(&base.0, &base.1) != Key::new(&changed.0, &changed.1));
        }
    }

    #[tokio::test]
    async fn a_changed_secret_is_used_at_once_although_the_old_token_is_valid() {
        let simulator = Simulator::start(Options::default()).await.unwrap();
        let (cells, outbound) = (cells(), Outbound::new(&outbound_settings()).unwrap());
        let old = cells.cell(&settings(&simulator), &ask(), &outbound);
        old.token().await.unwrap();
        let mut changed = settings(&simulator);
        let Kind::ClientCredentials(own) = &mut changed.kind;
        own.proof = proof("wrong", ClientAuth::Post);
        let new = cells.cell(&changed, &ask(), &outbound);
        assert_eq!(new.token().await.unwrap_err().codes(), [7_000_215]);
    }
}
