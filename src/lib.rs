//! flowgate gives each Power Automate flow a short stable address, checks who calls, obtains the token the flow wants, and forwards.
//!
//! One request reads top to bottom, and the modules are in that order:
//!
//! ```text
//! request → identity → policy → credential → upstream → response
//!           who?       may it?   with what?   send       scrub
//! ```
//!
//! [`gateway`] assembles the line as one tower stack; [`app`] builds it from a [`config::Config`] and replaces it on reload.
//!
//! Imports form a line too (`tests/architecture.rs` holds it): upstream → credential → policy → identity → vault, flow, call;
//! the leaves (client, body, heads, metrics, telemetry, secret, file, validity, clock, clouds, refresher) import nothing of ours but other leaves. The stages check
//! their own sections of the configuration with what `validation` offers; config depends on the stages, never the reverse; only `refusal` knows HTTP statuses; `diagnosis` is data that imports nothing of ours, for credential and whatever is
//! above it to look up.

pub mod app;
pub mod body;
pub mod call;
pub mod cli;
pub mod client;
pub mod clock;
mod clouds;
pub mod config;
pub mod credential;
pub mod diagnosis;
pub mod file;
pub mod flow;
pub mod gateway;
pub mod heads;
pub mod identity;
pub mod metrics;
pub mod policy;
pub mod refresher;
pub mod refusal;
pub mod secret;
pub mod server;
pub mod telemetry;
pub mod upstream;
mod validation;
pub mod validity;
pub mod vault;
