//! Whose connection ends for a newcomer, when there are as many as there may be?
//!
//! In: every connection that may be ended. Out: the next ones to end. Strangers come first: oldest first from the address that has most of
//! them, so that nobody gains by opening more, and a newcomer is the last of his kind. Then callers who are known and idle, longest idle
//! first. Strangers with a call that was admitted, to a flow for `anyone`, come last. A known caller's call in flight is no candidate.

use std::net::IpAddr;

/// How many are ranked at once: with every connection taken, each newcomer would otherwise have them all looked at.
const BATCH: usize = 64;

/// How many new connections of one source are spared, so that callers who come together do not end each other's.
const SPARED: usize = 8;

/// And at most this part of all connections, so that strangers from many addresses cannot be new one after another: one in so many.
const SPARED_PART: usize = 4;

/// In the order in which they make room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    /// Nobody on it has been identified.
    Stranger,
    /// A known caller's, with nothing in flight.
    Idle,
    /// A stranger's, with a call that was admitted.
    Admitted,
}

/// Where a connection comes from, as far as it is distinguished: an IPv6 host has a /64 to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Source(u64);

impl Source {
    pub(super) fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => u64::from(address.to_bits()),
            // Never an IPv4 address: no network of the first bits all zero is in use.
            IpAddr::V6(address) => (address.to_bits() >> 64) as u64,
        })
    }
}

/// A connection that may be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) class: Class,
    pub(super) source: Source,
    /// Of an idle one: since when.
    pub(super) since: u64,
    /// Connections are numbered as they come.
    pub(super) number: u64,
    /// It came a moment ago: whoever is known has hardly been able to say so.
    pub(super) is_new: bool,
    /// Whoever is known may have said so already: nobody has looked, or decided.
    pub(super) is_unread: bool,
}

/// The next to end, the first one last. `most`: how many connections there may be.
pub(super) fn rank(candidates: impl Iterator<Item = Candidate>, most: usize) -> Vec<Candidate> {
    let (strangers, others): (Vec<_>, Vec<_>) =
        candidates.partition(|candidate| candidate.class == Class::Stranger);
    let mut ranked = by_source(strangers, most / SPARED_PART);
    if ranked.is_empty() {
        let (mut idle, admitted): (Vec<_>, Vec<_>) = others
            .into_iter()
            .partition(|candidate| candidate.class == Class::Idle);
        idle.sort_unstable_by_key(|candidate| (candidate.since, candidate.number));
        ranked = if idle.is_empty() {
            by_source(admitted, 0)
        } else {
            idle
        };
    }
    ranked.truncate(BATCH);
    ranked.reverse();
    ranked
}

/// As if each time the oldest went of the source that has most: with so many younger ones of the same source, most first. Of the newest
/// `newest` some are spared.
fn by_source(mut all: Vec<Candidate>, newest: usize) -> Vec<Candidate> {
    all.sort_unstable_by_key(|candidate| std::cmp::Reverse(candidate.number));
    let spared = newest.checked_sub(1).and_then(|last| {
        let last = last.min(all.len().saturating_sub(1));
        all.get(last).map(|candidate| candidate.number)
    });
    all.sort_unstable_by_key(|candidate| (candidate.source, candidate.number));
    let mut ranked: Vec<(usize, Candidate)> = Vec::with_capacity(all.len());
    for same in all.chunk_by(|one, other| one.source == other.source) {
        let younger = (0..same.len()).rev();
        ranked.extend(younger.zip(same.iter().copied()));
    }
    ranked.retain(|(younger, candidate)| {
        let newest = spared.is_some_and(|from| candidate.number >= from);
        !(candidate.is_unread || candidate.is_new && newest && *younger < SPARED)
    });
    ranked.sort_unstable_by_key(|(younger, candidate)| {
        (std::cmp::Reverse(*younger), candidate.number)
    });
    ranked.into_iter().map(|(_, candidate)| candidate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(class: Class, source: &str, since: u64, number: u64) -> Candidate {
        let source = Source::of(source.parse().unwrap());
        Candidate {
            class,
            source,
            since,
            number,
            is_new: false,
            is_unread: false,
        }
    }

    fn order(all: &[Candidate]) -> Vec<u64> {
        let ranked = rank(all.iter().copied(), 100);
        ranked.iter().rev().map(|next| next.number).collect()
    }

    #[test]
    fn the_address_that_has_most_makes_room_oldest_first_until_it_has_no_more_than_others() {
        let stranger = |source, number| candidate(Class::Stranger, source, 0, number);
        let all = [
            stranger("192.0.2.1", 1),
            stranger("192.0.2.2", 2),
            stranger("192.0.2.1", 3),
            stranger("192.0.2.1", 4),
            stranger("192.0.2.2", 5),
            stranger("192.0.2.3", 6),
        ];
        assert_eq!(order(&all), [1, 2, 3, 4, 5, 6]);
        let port_limits: Vec<Candidate> = (10..200).map(|n| stranger("192.0.2.9", n)).collect();
        let all = [&all[..], &port_limits[..]].concat();
        assert_eq!(order(&all), (10..74).collect::<Vec<_>>());
    }

    #[test]
    fn strangers_come_first_then_who_is_idle_for_longest_then_who_was_admitted() {
        let idle = [
            candidate(Class::Idle, "192.0.2.1", 30, 1),
            candidate(Class::Idle, "192.0.2.1", 10, 3),
        ];
        let admitted = candidate(Class::Admitted, "192.0.2.1", 0, 2);
        let stranger = candidate(Class::Stranger, "192.0.2.1", 0, 9);
        assert_eq!(order(&[admitted, idle[0], stranger, idle[1]]), [9]);
        assert_eq!(order(&[admitted, idle[0], idle[1]]), [3, 1]);
        assert_eq!(order(&[admitted]), [2]);
        assert!(order(&[]).is_empty());
    }

    #[test]
    fn the_newest_few_of_a_source_are_spared_while_they_are_new() {
        let new = |number| Candidate {
            is_new: true,
            ..candidate(Class::Stranger, "192.0.2.1", 0, number)
        };
        let old = candidate(Class::Stranger, "192.0.2.2", 0, 50);
        let idle = candidate(Class::Idle, "192.0.2.2", 0, 51);
        let all: Vec<Candidate> = (0..10).map(new).chain([old, idle]).collect();
        assert_eq!(order(&all), [0, 1, 50]);
        assert_eq!(order(&all[2..10]), [0; 0]);
        assert_eq!(order(&[new(1), idle]), [51]);
        // Of few connections fewer are spared.
        let ranked = rank(all[2..10].iter().copied(), 12);
        assert_eq!(
            ranked
                .iter()
                .rev()
                .map(|next| next.number)
                .collect::<Vec<_>>(),
            [2, 3, 4, 5, 6]
        );
    }

    #[test]
    fn an_ipv6_host_is_its_network_and_a_mapped_address_is_the_ipv4_one() {
        let source = |text: &str| Source::of(text.parse().unwrap());
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:2"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
        assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
    }
}
