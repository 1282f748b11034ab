//! The tests that use real sockets: one binary, one module per subject.

mod listener;
mod provider;
