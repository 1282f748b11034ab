//! What goes wrong between the gateway and others, and what to change: data, not code.
//!
//! In: what a flow's service or the identity provider answered, or a [`Reason`] for which nothing came. Out: the catalogue's
//! [`service::Finding`] or [`entra::Meaning`], the differences between the token that was sent and what the flow is known to want
//! ([`compare`]), and the one [`Explanation`] that log, `/status`, `/readyz`, `doctor` and `token` show. Decides nothing: `refusal` turns
//! a finding into an answer; a caller never sees an explanation (contract, "What a caller gets").

pub mod compare;
pub mod entra;
mod explain;
mod provider;
mod reason;
pub mod service;

pub use explain::{Evidence, Explanation, Fault, chain, explain};
pub use provider::{ProviderError, Subject};
pub use reason::{Entry, Reason};
