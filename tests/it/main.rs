//! The tests that use real sockets: one binary, one module per subject.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::format_collect,
    clippy::float_cmp,
    missing_docs,
    reason = "a test stops at what it did not expect"
)]

mod alerts;
mod back_pressure;
mod bad_input;
mod canaries;
mod certificates;
mod check;
mod commands;
mod credentials;
mod diagnosis;
mod diagnostics;
mod doctor;
mod doctor_credentials;
mod doctor_vaults;
mod every_change_is_seen;
mod files_that_hang;
mod foreign_providers;
mod frames;
mod graph;
mod house;
mod identity;
mod init;
mod kept_connections;
mod listener;
mod not_modified;
mod on_behalf_of;
mod outbound_failures;
mod outbound_servers;
mod process;
mod provider;
mod real_clients;
mod real_device_code;
mod real_provider;
mod real_sign_in;
mod restarts;
mod rule_01_a_flow_never_runs_twice;
mod rule_02_host_chooses_nothing;
mod rule_06_a_reload_reaches_open_connections;
mod rule_07_only_what_is_listed_passes;
mod rule_08_nothing_secret_reaches_a_caller;
mod rule_11_framing_is_unambiguous;
mod rule_12_which_credential_counts;
mod rule_13_a_stranger_learns_nothing;
mod rule_14_cross_site_browsers;
mod rule_15_the_url_stays_ours;
mod rule_16_anyone_borrows_nothing;
mod rule_18_a_broken_off_body_never_looks_complete;
mod rule_19_source_address;
mod rule_20_no_type_with_a_secret_derives_debug;
mod rule_20_secrets_cannot_be_printed;
mod rule_21_outbound_trust;
mod rule_25_simulator_and_demo;
mod rule_26_admin_port;
mod rule_27_a_connection_is_reused_only_when_all_was_read;
mod rule_28_strangers_hold_little;
mod rule_29_a_log_never_blocks;
mod rule_30_a_reload_never_takes_away;
mod rule_30_tokens_at_hand;
mod schema;
mod shared_connections;
mod shared_paths;
mod sign_in;
mod sign_in_to_a_vault;
#[path = "../conformance/issuer.rs"]
#[allow(
    dead_code,
    reason = "the keys of the conformance tests, of which these tests need some"
)]
mod signing;
mod spine;
mod status_fields;
mod timeouts_and_limits;
mod tokens;
mod tools;
mod vaults;
mod why;
mod wire;
