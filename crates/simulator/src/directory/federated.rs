//! Which other identity provider may speak for an application?
//!
//! A [`Federated`] is a federated identity credential (facts B1.5): issuer, subject and audience, each matched exactly. The simulator
//! plays such a provider itself: [`OutsideToken`] says what its tokens hold.

use crate::directory::certificate::PublicKey;

/// Issuer of the simulator's own outside tokens, as of a Kubernetes cluster.
pub const CLUSTER_ISSUER: &str = "https://oidc.cluster.example/flowgate";
/// Audience of outside tokens in the public cloud (facts B1.5).
pub const EXCHANGE_AUDIENCE: &str = "api://AzureADTokenExchange";

/// A federated identity credential of an application.
#[derive(Clone)]
pub struct Federated {
    /// `iss`, exactly.
    pub issuer: String,
    /// `sub`, exactly.
    pub subject: String,
    /// `aud`, exactly.
    pub audience: String,
    /// The key that signs; the simulator's own if there is none.
    pub key: Option<PublicKey>,
}

impl Federated {
    /// Trust in the simulator's cluster for that subject, e.g. `system:serviceaccount:flows:flowgate`.
    #[must_use]
    pub fn cluster(subject: &str) -> Self {
        Self {
            issuer: CLUSTER_ISSUER.into(),
            subject: subject.into(),
            audience: EXCHANGE_AUDIENCE.into(),
            key: None,
        }
    }
}

/// A token of the simulator's cluster, as a file in a pod would hold it.
#[derive(Clone)]
pub struct OutsideToken {
    /// `iss`.
    pub issuer: String,
    /// `sub`.
    pub subject: String,
    /// `aud`.
    pub audience: String,
    /// Seconds from now to its end; negative: it has ended.
    pub lifetime: i64,
}

impl OutsideToken {
    /// The hour-long token of that service account.
    #[must_use]
    pub fn new(subject: &str) -> Self {
        Self {
            issuer: CLUSTER_ISSUER.into(),
            subject: subject.into(),
            audience: EXCHANGE_AUDIENCE.into(),
            lifetime: 3600,
        }
    }
}
