//! Rule 22 for `refresh_token`: what its own inputs add to the key.

use proptest::prelude::*;

use super::*;
use crate::credential::refresh_token::{self, sign_in::Endpoints};

fn part() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "ab", "A"]).prop_map(str::to_owned)
}

fn endpoint() -> impl Strategy<Value = Option<url::Url>> {
    prop::option::of(
        prop::sample::select(vec!["https://a.example/s", "https://b.example/s"])
            .prop_map(|url| url.parse().unwrap()),
    )
}

prop_compose! {
    fn drawn()(
        name in part(),
        client_id in part(),
        public in any::<bool>(),
        scope in prop::option::of(part().prop_map(Ask::Scope)),
        store in part(),
        key in part(),
        authorize in endpoint(),
        device in endpoint(),
        ask in part().prop_map(Ask::Scope),
    ) -> Drawn {
        let settings = refresh_token::RefreshTokenSettings {
            credential: name.into(),
            application: Application {
                token_url: "https://a.example/t".parse().unwrap(),
                client_id,
                proof: if public { Proof::Nothing } else { proof("s", ClientAuth::Post) },
                parameters: BTreeMap::new(),
                entra: true,
            cae: false,
            },
            scope,
            store: refresh_token::StoreLocation::File(store.into()),
            store_key: Value::Fixed(Secret::new(key)),
            sign_in: Endpoints { authorize, device },
        };
        Drawn(settings, ask)
    }
}

#[derive(Clone)]
struct Drawn(refresh_token::RefreshTokenSettings, Ask);

/// Every input but the proof, written out independently of the key.
impl std::fmt::Debug for Drawn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let refresh_token::RefreshTokenSettings {
            credential,
            application,
            scope,
            store,
            store_key: _,
            sign_in: _,
        } = &self.0;
        let refresh_token::StoreLocation::File(file) = store else {
            unreachable!("so it was drawn")
        };
        f.debug_list()
            .entry(credential)
            .entry(&application.client_id)
            .entry(scope)
            .entry(file)
            .entry(&self.1)
            .finish()
    }
}

fn key(Drawn(settings, ask): &Drawn) -> Key {
    let credential = CredentialSettings {
        name: Arc::clone(&settings.credential),
        kind: Kind::RefreshToken(Box::new(settings.clone())),
        ask: None,
        expires: None,
    };
    Key::new(&credential, ask)
}

proptest! {
    #[test]
    fn two_refresh_tokens_share_an_entry_only_when_every_input_but_the_proof_is_equal(one in drawn(), other in drawn()) {
        prop_assert_eq!(key(&one) == key(&other), format!("{one:?}") == format!("{other:?}"));
    }

    #[test]
    fn one_changed_input_of_a_refresh_token_alone_makes_another_entry_unless_it_proves_it(base in drawn(), which in 0_usize..9) {
        let mut changed = base.clone();
        let own = &mut changed.0;
        match which {
            0 => own.credential = format!("{}x", own.credential).into(),
            1 => own.application.client_id.push('x'),
            2 => {
                let public = own.application.proof == Proof::Nothing;
                own.application.proof = if public { proof("s", ClientAuth::Post) } else { Proof::Nothing };
            }
            3 => own.scope = Some(Ask::Scope("another".to_owned())),
            4 => own.store = refresh_token::StoreLocation::File("another".into()),
            5 => {
                let Value::Fixed(key) = &own.store_key else { unreachable!("so it was drawn") };
                own.store_key = Value::Fixed(Secret::new(format!("{}x", key.expose())));
            }
            6 => own.sign_in.authorize = Some("https://c.example/s".parse().unwrap()),
            7 => own.sign_in.device = Some("https://c.example/s".parse().unwrap()),
            _ => changed.1 = Ask::Scope("another".to_owned()),
        }
        // The application's proof, the store's key, and where a person signs in.
        let same = [2, 5, 6, 7].contains(&which);
        prop_assert_eq!(key(&base) == key(&changed), same);
    }
}
