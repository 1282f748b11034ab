//! Which entries are shared, kept and forgotten.

mod every_kind;

use std::collections::BTreeMap;

use super::*;
use crate::client::OutboundSettings;
use crate::clock::{Clock, Random};
use crate::credential::Application;
use crate::credential::client_secret::{self, ClientAuth};
use crate::credential::proof::Proof;
use crate::metrics::Metrics;
use crate::secret::Secret;
use crate::vault::Value;
use simulator::{Options, Simulator, directory};

fn token_cache() -> TokenCache {
    TokenCache::new(Deps {
        secrets: crate::vault::Secrets::default(),
        clock: Clock::system(),
        random: Random::system(),
        metrics: Metrics::new().unwrap(),
    })
}

fn settings(simulator: &Simulator) -> CredentialSettings {
    let url = simulator.token_url(directory::DEMO_TENANT, true);
    CredentialSettings {
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
            cae: false,
        }),
        ask: None,
        expires: None,
    }
}

fn proof(secret: &str, client_auth: ClientAuth) -> Proof {
    Proof::Secret(client_secret::ClientSecretSettings {
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
    let (token_cache, outbound) = (token_cache(), Outbound::for_tests());
    let before = token_cache.entry(&settings(&simulator), &ask(), &outbound);
    before.token().await.unwrap();
    let outbound = outbound.with(&OutboundSettings::for_tests()).unwrap();
    let mut reloaded = settings(&simulator);
    reloaded.expires = Some(1_900_000_000);
    let after = token_cache.entry(&reloaded, &ask(), &outbound);
    assert!(Arc::ptr_eq(&before, &after));
    assert_eq!(simulator.token_requests().len(), 1);
}

#[tokio::test]
async fn an_entry_nobody_uses_any_more_is_dropped_with_its_gauge() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let (token_cache, outbound) = (token_cache(), Outbound::for_tests());
    let entry = token_cache.entry(&settings(&simulator), &ask(), &outbound);
    entry.token().await.unwrap();
    let health = token_cache.health();
    assert_eq!((health.len(), &*health[0].credential), (1, "flows"));
    assert!(health[0].expires.is_some() && health[0].tried && token_cache.first_tried());
    let gauge = "flowgate_token_expiry_timestamp_seconds{";
    assert!(token_cache.deps.metrics.text().unwrap().contains(gauge));
    drop(entry);
    assert!(token_cache.health().is_empty());
    assert!(!token_cache.deps.metrics.text().unwrap().contains(gauge));
}

#[tokio::test]
async fn an_entry_is_not_tried_before_its_first_attempt_has_ended() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let gate = simulator::Gate::closed();
    let held = simulator::Fault::Held(gate.clone());
    simulator.fault(simulator::FaultPoint::Token, held, simulator::Times::Once);
    let (token_cache, outbound) = (token_cache(), Outbound::for_tests());
    let entry = token_cache.entry(&settings(&simulator), &ask(), &outbound);
    simulator
        .until(|simulator| simulator.token_requests().len() == 1)
        .await;
    assert!(!token_cache.first_tried());
    gate.open();
    token_cache.tried().await;
    assert!(token_cache.first_tried() && entry.ready().is_some());
}

mod rule_21_outbound_trust {
    use super::*;

    #[tokio::test]
    async fn a_changed_way_out_is_taken_at_once_and_the_token_at_hand_stays() {
        let simulator = Simulator::start(Options::default()).await.unwrap();
        let (token_cache, outbound) = (token_cache(), Outbound::for_tests());
        let entry = token_cache.entry(&settings(&simulator), &ask(), &outbound);
        let first = entry.token().await.unwrap();
        let connections = simulator.connections();
        let changed = OutboundSettings {
            insecure_hosts: vec!["erp.plant".into()],
            ..OutboundSettings::for_tests()
        };
        let changed = outbound.with(&changed).unwrap();
        assert!(!outbound.same(&changed));
        let after = token_cache.entry(&settings(&simulator), &ask(), &changed);
        assert!(after.ready().unwrap().is_ok());
        let renewed = async {
            while after.token().await.unwrap().generation == first.generation {
                tokio::task::yield_now().await;
            }
        };
        let patience = Duration::from_secs(20);
        tokio::time::timeout(patience, renewed).await.unwrap();
        assert_eq!(simulator.token_requests().len(), 2);
        assert!(simulator.connections() > connections, "a new client");
    }
}

mod rule_22_refresh_tokens;

mod rule_22_keys {
    use proptest::prelude::*;

    use super::*;
    use crate::credential::assertion::SigningOptions;
    use crate::credential::certificate::Algorithm;
    use crate::credential::managed_identity::{Identity, Platform};
    use crate::credential::{bearer, client_certificate, federated, managed_identity, password};
    use crate::vault::Address;

    /// Small pools of near-equal parts, so that two draws often differ in one input alone.
    fn part() -> impl Strategy<Value = String> {
        prop::sample::select(vec!["", "a", "b", "ab", "a b", "a\u{0}b", "A"])
            .prop_map(str::to_owned)
    }

    fn asked() -> impl Strategy<Value = Ask> {
        prop_oneof![
            part().prop_map(Ask::Scope),
            part().prop_map(Ask::Resource),
            (part(), part()).prop_map(|(scope, resource)| Ask::Both { scope, resource }),
        ]
    }

    fn value(text: String) -> Value {
        Value::Fixed(Secret::new(text))
    }

    /// A secret, from the configuration or in a vault.
    #[derive(Clone)]
    struct ValueCase(Value);

    impl std::fmt::Debug for ValueCase {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(&exposed(&self.0))
        }
    }

    fn kept() -> impl Strategy<Value = ValueCase> {
        let vault = prop::sample::select(vec![
            "https://a.vault.azure.net/",
            "https://b.vault.azure.net/",
        ]);
        let audience =
            prop::sample::select(vec!["https://vault.azure.net", "https://vault.azure.cn"]);
        let address = (vault, part(), prop::option::of(part()), part(), audience);
        let in_vault = address.prop_map(|(vault, name, version, reader, audience)| {
            ValueCase(Value::Vault(Address {
                vault: vault.parse().unwrap(),
                name,
                version,
                reader: reader.into(),
                audience: audience.to_owned(),
            }))
        });
        prop_oneof![part().prop_map(|text| ValueCase(value(text))), in_vault]
    }

    /// The same with each one of its inputs changed alone.
    fn values_changed(before: &Value) -> Vec<Value> {
        let address = match before {
            Value::Fixed(secret) => return vec![value(format!("{}x", secret.expose()))],
            Value::Vault(address) => address,
        };
        let with = |change: fn(&mut Address)| {
            let mut changed = address.clone();
            change(&mut changed);
            Value::Vault(changed)
        };
        vec![
            with(|own| own.vault.set_path("/x")),
            with(|own| own.name.push('x')),
            with(|own| own.version = own.version.is_none().then(String::new)),
            with(|own| own.reader = format!("{}x", own.reader).into()),
            with(|own| own.audience.push('x')),
            value(address.name.clone()),
        ]
    }

    #[derive(Clone)]
    struct Proven(Proof);

    impl std::fmt::Debug for Proven {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(&explanation(&self.0))
        }
    }

    fn proofs() -> impl Strategy<Value = Proven> {
        let secret = (kept(), prop::option::of(kept()), any::<bool>());
        let secret = secret.prop_map(|(secret, next, basic)| {
            Proven(Proof::Secret(client_secret::ClientSecretSettings {
                secret: secret.0,
                next: next.map(|kept| kept.0),
                client_auth: if basic {
                    ClientAuth::Basic
                } else {
                    ClientAuth::Post
                },
            }))
        });
        let algorithm = prop::sample::select(vec![Algorithm::Ps256, Algorithm::Rs256]);
        let certificate = (kept(), prop::option::of(kept()), algorithm, any::<bool>());
        let certificate =
            certificate.prop_map(|(certificate, passphrase, algorithm, send_chain)| {
                Proven(Proof::Certificate(
                    client_certificate::ClientCertificateSettings {
                        certificate: certificate.0,
                        passphrase: passphrase.map(|kept| kept.0),
                        signing: SigningOptions {
                            algorithm,
                            send_chain,
                        },
                    },
                ))
            });
        let federated = part().prop_map(|file| {
            Proven(Proof::Federated(federated::FederatedSettings {
                file: file.into(),
            }))
        });
        prop_oneof![secret, certificate, federated, Just(Proven(Proof::Nothing))]
    }

    /// Every input of a proof, in words.
    fn explanation(proof: &Proof) -> String {
        let word = exposed;
        match proof {
            Proof::Secret(own) => {
                let next = own.next.as_ref().map(word);
                format!("{:?}", ("secret", word(&own.secret), next, own.client_auth))
            }
            Proof::Certificate(own) => {
                let passphrase = own.passphrase.as_ref().map(word);
                let text = word(&own.certificate);
                format!("{:?}", ("certificate", text, passphrase, own.signing))
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
            cae in any::<bool>(),
            ask in asked(),
            which in (0..8_usize, 0..3_usize),
            others in (part(), part()),
            secret in kept(),
        ) -> Drawn {
            let url: url::Url = url.parse().unwrap();
            let application = Application {
                token_url: url.clone(),
                client_id: client_id.clone(),
                proof: proof.0,
                parameters,
                entra,
                cae,
            };
            let (one, other) = others;
            let platform = match which.1 {
                0 => Platform::Metadata { base: url },
                1 => Platform::AppService { endpoint: url, header: Secret::new(one.clone()) },
                _ => Platform::Arc { endpoint: url, keys: one.clone().into() },
            };
            let machine = |identity| {
                Kind::ManagedIdentity(managed_identity::ManagedIdentitySettings { platform: platform.clone(), identity })
            };
            let kind = match which.0 {
                0 => Kind::ClientCredentials(application),
                1 => Kind::OnBehalfOf(application),
                2 => Kind::Password(password::PasswordSettings {
                    application,
                    username: one,
                    password: secret.0,
                }),
                3 => machine(Identity::System),
                4 => machine(Identity::ClientId(other)),
                5 => machine(Identity::ObjectId(other)),
                6 => machine(Identity::ResourceId(other)),
                _ => Kind::Bearer(bearer::BearerSettings { token: secret.0 }),
            };
            Drawn(CredentialSettings { name: name.into(), kind, ask: None, expires: None }, ask)
        }
    }

    #[derive(Clone)]
    struct Drawn(CredentialSettings, Ask);

    /// Every input but the proof, written out independently of the key.
    impl std::fmt::Debug for Drawn {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            let kind: Vec<String> = match &self.0.kind {
                Kind::ClientCredentials(own) => [vec!["client".into()], inputs(own)].concat(),
                Kind::OnBehalfOf(own) => [vec!["lent".into()], inputs(own)].concat(),
                Kind::Password(own) => [
                    vec!["password".into(), own.username.clone()],
                    inputs(&own.application),
                ]
                .concat(),
                Kind::ManagedIdentity(own) => {
                    let platform = match &own.platform {
                        Platform::Metadata { base } => {
                            ["metadata", base.as_str(), ""].map(str::to_owned)
                        }
                        Platform::AppService { endpoint, header } => {
                            ["app", endpoint.as_str(), header.expose()].map(str::to_owned)
                        }
                        Platform::Arc { endpoint, keys } => {
                            ["arc", endpoint.as_str(), keys.to_str().unwrap()].map(str::to_owned)
                        }
                    };
                    let identity = match &own.identity {
                        Identity::System => ["system", ""],
                        Identity::ClientId(id) => ["client", id],
                        Identity::ObjectId(id) => ["object", id],
                        Identity::ResourceId(id) => ["resource", id],
                    };
                    [platform.to_vec(), identity.map(str::to_owned).to_vec()].concat()
                }
                Kind::Bearer(own) => vec!["bearer".into(), exposed(&own.token)],
                Kind::RefreshToken(_) => unreachable!("drawn in a file of its own"),
            };
            f.debug_list()
                .entry(&self.0.name)
                .entries(kind)
                .entry(&self.1)
                .finish()
        }
    }

    fn exposed(value: &Value) -> String {
        match value {
            Value::Fixed(secret) => format!("{:?}", ("fixed", secret.expose())),
            Value::Vault(own) => format!(
                "{:?}",
                (
                    "vault",
                    own.vault.as_str(),
                    &own.name,
                    &own.version,
                    &own.reader,
                    &own.audience
                )
            ),
        }
    }

    fn inputs(own: &Application) -> Vec<String> {
        vec![
            own.token_url.to_string(),
            own.client_id.clone(),
            format!("{:?}", own.parameters),
            own.entra.to_string(),
            own.cae.to_string(),
        ]
    }

    /// The same with each one of its inputs changed alone.
    fn changed(application: &Application) -> Vec<Application> {
        let with = |change: fn(&mut Application)| {
            let mut changed = application.clone();
            change(&mut changed);
            changed
        };
        vec![
            with(|own| own.token_url.set_path("/other")),
            with(|own| own.client_id.push('x')),
            with(|own| own.entra = !own.entra),
            with(|own| own.cae = !own.cae),
            with(|own| drop(own.parameters.insert("x".into(), "x".into()))),
        ]
    }

    /// The same with its proof, or how it is presented, changed alone.
    fn proven_otherwise(application: &Application) -> Vec<Application> {
        let all = [false, true].map(|signing| {
            let mut changed = application.clone();
            change(&mut changed.proof, signing);
            changed
        });
        all.to_vec()
    }

    /// The same identity, proven in another way.
    fn kinds_proven_otherwise(kind: &Kind) -> Vec<Kind> {
        match kind {
            Kind::ClientCredentials(own) => proven_otherwise(own)
                .into_iter()
                .map(Kind::ClientCredentials)
                .collect(),
            Kind::OnBehalfOf(own) => proven_otherwise(own)
                .into_iter()
                .map(Kind::OnBehalfOf)
                .collect(),
            Kind::Password(own) => {
                let applications = proven_otherwise(&own.application).into_iter();
                let applications = applications.map(|application| password::PasswordSettings {
                    application,
                    ..own.clone()
                });
                let passwords = values_changed(&own.password).into_iter();
                let passwords = passwords.map(|password| password::PasswordSettings {
                    password,
                    ..own.clone()
                });
                applications.chain(passwords).map(Kind::Password).collect()
            }
            Kind::ManagedIdentity(_) | Kind::Bearer(_) | Kind::RefreshToken(_) => Vec::new(),
        }
    }

    /// Changes the proof itself, or how it is presented.
    fn change(proof: &mut Proof, signing: bool) {
        match proof {
            Proof::Secret(own) if signing => {
                own.client_auth = match own.client_auth {
                    ClientAuth::Basic => ClientAuth::Post,
                    ClientAuth::Post => ClientAuth::Basic,
                };
            }
            Proof::Secret(own) => own.next = other(own.next.as_ref()),
            Proof::Certificate(own) if signing => own.signing.send_chain = !own.signing.send_chain,
            Proof::Certificate(own) => own.passphrase = other(own.passphrase.as_ref()),
            Proof::Federated(own) => own.file.push("x"),
            Proof::Nothing => *proof = self::proof("", ClientAuth::Post),
        }
    }

    fn other(before: Option<&Value>) -> Option<Value> {
        before.is_none().then(|| value(String::new()))
    }

    fn kinds_changed(kind: &Kind) -> Vec<Kind> {
        match kind {
            Kind::RefreshToken(_) => unreachable!("drawn in a file of its own"),
            Kind::ClientCredentials(own) => changed(own)
                .into_iter()
                .map(Kind::ClientCredentials)
                .chain([Kind::OnBehalfOf(own.clone())])
                .collect(),
            Kind::OnBehalfOf(own) => changed(own)
                .into_iter()
                .map(Kind::OnBehalfOf)
                .chain([Kind::ClientCredentials(own.clone())])
                .collect(),
            Kind::Password(own) => {
                let mut all: Vec<_> = changed(&own.application)
                    .into_iter()
                    .map(|application| password::PasswordSettings {
                        application,
                        ..own.clone()
                    })
                    .collect();
                all.push(password::PasswordSettings {
                    username: format!("{}x", own.username),
                    ..own.clone()
                });
                all.into_iter().map(Kind::Password).collect()
            }
            Kind::ManagedIdentity(own) => {
                let identity = match &own.identity {
                    Identity::System => Identity::ClientId(String::new()),
                    Identity::ClientId(id) => Identity::ObjectId(id.clone()),
                    Identity::ObjectId(id) => Identity::ResourceId(id.clone()),
                    Identity::ResourceId(id) => Identity::ResourceId(format!("{id}x")),
                };
                let platform = match own.platform.clone() {
                    Platform::Metadata { base } => Platform::Arc {
                        endpoint: base,
                        keys: "".into(),
                    },
                    Platform::AppService { endpoint, header } => Platform::AppService {
                        endpoint,
                        header: Secret::new(format!("{}x", header.expose())),
                    },
                    Platform::Arc { endpoint, keys } => Platform::Arc {
                        endpoint,
                        keys: keys.join("x"),
                    },
                };
                [
                    managed_identity::ManagedIdentitySettings {
                        identity,
                        ..own.clone()
                    },
                    managed_identity::ManagedIdentitySettings {
                        platform,
                        ..own.clone()
                    },
                ]
                .map(Kind::ManagedIdentity)
                .to_vec()
            }
            Kind::Bearer(own) => {
                let tokens = values_changed(&own.token).into_iter();
                tokens
                    .map(|token| Kind::Bearer(bearer::BearerSettings { token }))
                    .collect()
            }
        }
    }

    proptest! {
        #[test]
        fn two_credentials_share_an_entry_only_when_every_input_but_the_proof_is_equal(one in drawn(), other in drawn()) {
            let same = Key::new(&one.0, &one.1) == Key::new(&other.0, &other.1);
            prop_assert_eq!(same, format!("{one:?}") == format!("{other:?}"));
        }

        #[test]
        fn one_changed_input_alone_makes_another_entry(base in drawn()) {
            let own = Key::new(&base.0, &base.1);
            let name = format!("{}x", base.0.name).into();
            let renamed = CredentialSettings { name, ..base.0.clone() };
            prop_assert!(own != Key::new(&renamed, &base.1));
            let ask = match base.1.clone() {
                Ask::Scope(text) => Ask::Resource(text),
                Ask::Resource(text) => Ask::Scope(text),
                Ask::Both { scope, resource } => Ask::Both {
                    scope: format!("{resource}x"),
                    resource: scope,
                },
            };
            prop_assert!(own != Key::new(&base.0, &ask));
            for kind in kinds_changed(&base.0.kind) {
                let other = CredentialSettings { kind, ..base.0.clone() };
                prop_assert!(own != Key::new(&other, &base.1));
            }
            for kind in kinds_proven_otherwise(&base.0.kind) {
                prop_assert!(kind != base.0.kind);
                let other = CredentialSettings { kind, ..base.0.clone() };
                prop_assert!(own == Key::new(&other, &base.1));
            }
        }
    }

    #[tokio::test]
    async fn a_changed_secret_is_used_at_once_although_the_old_token_is_valid() {
        let simulator = Simulator::start(Options::default()).await.unwrap();
        let (token_cache, outbound) = (token_cache(), Outbound::for_tests());
        let old = token_cache.entry(&settings(&simulator), &ask(), &outbound);
        old.token().await.unwrap();
        let mut changed = settings(&simulator);
        let (Kind::ClientCredentials(own) | Kind::OnBehalfOf(own)) = &mut changed.kind else {
            panic!("another kind")
        };
        own.proof = proof("wrong", ClientAuth::Post);
        let new = token_cache.entry(&changed, &ask(), &outbound);
        simulator
            .until(|simulator| simulator.token_requests().len() == 2)
            .await;
        let refused = async {
            while new.health().error.is_none() {
                tokio::task::yield_now().await;
            }
        };
        let patience = Duration::from_secs(20);
        tokio::time::timeout(patience, refused).await.unwrap();
        let health = new.health();
        assert_eq!(health.error.unwrap().codes, [7_000_215]);
        assert!(health.valid && health.changed);
        assert!(new.token().await.is_ok());
    }
}
