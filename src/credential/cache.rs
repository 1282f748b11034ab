//! One cell per credential and audience.
