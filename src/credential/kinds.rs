//! The kinds of credential that a configuration can have.
//!
//! In: a kind's section. Out: what it comes to. Several kinds may make one grant ([`super::grants`]).

use super::Kind;
use super::ask::TokenRequestStyle;

/// What validating a kind gives: how it asks, known even where the rest is broken, and its settings.
pub type PartialCredential = (Option<TokenRequestStyle>, Option<ValidatedKind>);

/// A kind's settings, and when its secret expires where that is known.
pub struct ValidatedKind {
    /// The grant.
    pub kind: Kind,
    /// Unix seconds.
    pub expires: Option<u64>,
}
