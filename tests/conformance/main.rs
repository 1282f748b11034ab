//! Behaviour that somebody else defines, pinned case by case: each table cites its section.
//!
//! Who is admitted runs the code that requests run, from the headers to the caller, without a socket: the issuers are in memory and
//! time does not move until a test moves it. Those modules' names are the rules of the threat model.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test stops at what it did not expect"
)]

mod hyper;
mod issuer;
mod rule_03_a_remembered_token_proves_only_what_its_verifier_proved_now;
mod rule_04_claims_are_checked_by_our_own_strict_code;
mod rule_05_entra_admits_whom_the_filters_say;
mod rule_11_heads_are_read_as_hyper_reads_them;
mod rule_12_which_credential_counts_is_defined;
mod rule_13_a_stranger_learns_nothing;
mod rule_16_anyone_is_nobody;
mod rule_17_key_sets_are_fetched_within_bounds;
mod world;
