//! What the error codes of flows and of Entra ID mean: whose fault, what to change. Data, not code.
//!
//! In: what a flow's service or the identity provider answered. Out: the catalogue's [`service::Finding`] or [`entra::Meaning`], and the
//! differences between the token that was sent and what the flow is known to want ([`compare`]). Decides nothing: `refusal` turns a
//! finding into an answer, `observe` writes the differences to the log; a caller never sees them (contract, "What a caller gets").

pub mod compare;
pub mod entra;
pub mod service;
