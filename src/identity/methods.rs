//! The methods that a caller can authenticate with: one row each.
//!
//! In: the rows below. Out: the section of a caller, its defaults, its [`Proof`], and the authenticators of all callers, so that nobody else
//! names all methods. Refuses nothing. A new method is a folder that implements [`CallerSettings`] and [`CallerMethod`], and a row.

use std::sync::Arc;

use settings::problem::Name;
use settings::read::Field;
use settings::section;
use settings::section::one_key;

use super::CallerId;
use super::api_key::ApiKeySettings;
use super::api_key::section::ApiKeyDefaults;
use super::authenticator::{Authenticator, Configured, Deps};
use super::caller_method::{CallerMethod, CallerSettings};
use super::entra::EntraSettings;
use super::jwt::JwtSettings;
use super::jwt::section::JwtDefaults;
use super::key_set::KeySets;
use super::tokens;
use crate::validation::ValidationContext;

/// A caller as configured: a name and the one way it proves itself.
#[derive(Clone)]
pub struct Caller {
    /// Its configured name.
    pub name: Arc<str>,
    /// How it proves who it is.
    pub proof: Proof,
}

/// Makes of the rows everything that lists the methods.
macro_rules! caller_methods {
    (
        $(
            $(#[doc = $doc:literal])+
            $key:ident: $name:ident($settings:ty)
            $( defaults $(#[doc = $about:literal])+ $defaults:ty )?;
        )+
        later { $( $later:ident, )+ }
    ) => {
        section! {
            /// One way to prove who knocks: exactly one of the keys.
            CallerSection {
                $( $(#[doc = $doc])+ $key: <$settings as CallerSettings>::Section, )+
            }
            rules { one_key() }
            later { $( $later, )+ }
        }

        section! {
            /// What is filled in where a caller says nothing.
            CallerDefaults {
                $( $( $(#[doc = $about])+ $key: $defaults, )? )+
            }
        }

        /// The ways a caller can prove itself.
        #[derive(Clone)]
        pub enum Proof { $( $(#[doc = $doc])+ $name($settings), )+ }

        impl Proof {
            /// What the caller has configured.
            pub(crate) fn settings(&self) -> &dyn CallerMethod {
                match self { $( Self::$name(settings) => settings, )+ }
            }
        }

        /// What the checks of all callers share, method by method.
        pub(super) struct Shared {
            $( $key: (
                <$settings as CallerSettings>::Defaults,
                <$settings as CallerSettings>::Seen,
            ), )+
        }

        impl Shared {
            /// Takes the defaults, and checks them.
            pub(super) fn new(context: &mut ValidationContext<'_>, defaults: CallerDefaults) -> Self {
                let shared = Self {
                    $( $key: (
                        caller_methods!(@defaults defaults $key $($defaults)?),
                        Default::default(),
                    ), )+
                };
                $( <$settings>::validate_defaults(context, &shared.$key.0); )+
                shared
            }
        }

        impl CallerSection {
            /// How many methods are given.
            pub(super) fn given(&self) -> usize {
                [$( !self.$key.absent(), )+].iter().filter(|given| **given).count()
            }

            /// Whether a caller with one of the given methods can be a user of Entra ID.
            pub(super) fn is_for_users(&self) -> bool {
                $( !self.$key.absent() && <$settings>::IS_FOR_USERS || )+ false
            }

            /// Checks the one method that is given.
            pub(super) fn validate(
                self,
                context: &mut ValidationContext<'_>,
                name: &Name,
                shared: &mut Shared,
            ) -> Option<Proof> {
                $(
                    if let Field::Given(at) = self.$key {
                        let (defaults, seen) = &mut shared.$key;
                        return <$settings>::validate(context, name, at, defaults, seen)
                            .map(Proof::$name);
                    }
                )+
                None
            }
        }

        /// An authenticator for each kind of credential and place that some caller uses. Tokens are asked last: they cost most.
        pub(super) fn authenticators(
            callers: &[Caller],
            deps: &Deps,
            key_sets: &KeySets,
        ) -> Vec<Box<dyn Authenticator>> {
            let mut all = Vec::new();
            let mut issuers = Vec::new();
            $(
                let of_method: Vec<Configured<'_, $settings>> = callers
                    .iter()
                    .enumerate()
                    .filter_map(|(number, caller)| match &caller.proof {
                        Proof::$name(settings) => Some(Configured {
                            id: CallerId(number),
                            name: &caller.name,
                            settings,
                        }),
                        _ => None,
                    })
                    .collect();
                all.extend(<$settings>::authenticators(&of_method, deps));
                issuers.extend(<$settings>::issuers(&of_method));
            )+
            all.extend(tokens::authenticator(issuers, deps, key_sets));
            all
        }
    };
    (@defaults $from:ident $key:ident) => { () };
    (@defaults $from:ident $key:ident $defaults:ty) => {
        $from.$key.value().unwrap_or_else(<$defaults>::silent)
    };
}

caller_methods! {
    /// An Entra ID access token of one tenant.
    entra: Entra(EntraSettings);
    /// A JWT of any OpenID Connect issuer.
    jwt: Jwt(JwtSettings) defaults
        /// For jwt callers.
        JwtDefaults;
    /// A shared key in a header, for programs that support nothing better.
    api_key: ApiKey(ApiKeySettings) defaults
        /// For `api_key` callers.
        ApiKeyDefaults;
    later { basic, client_certificate, hmac, network, }
}
