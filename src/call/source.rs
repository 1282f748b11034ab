//! Where does a call really come from?
//!
//! In: the socket's other end, `X-Forwarded-For`, and whose word is believed. Out: one address, or nothing when that is not known. Only a
//! trusted proxy's header is read at all, from its right end: what stands left of the first untrusted hop is the caller's own writing.
//! A missing, unreadable or all-trusted list says nothing, and nothing matches no network (security rule 19).

use std::net::IpAddr;

use http::HeaderName;
use ipnet::IpNet;

use super::Call;

/// The header proxies add themselves to. `Forwarded` (RFC 7239) is not read.
pub const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address a call comes from; v4-mapped ones as the IPv4 address they are. `trusted` is canonical too.
#[must_use]
pub fn of(call: &Call, trusted: &[IpNet]) -> Option<IpAddr> {
    let trusts = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
    let peer = call.connection.as_ref()?.peer.ip().to_canonical();
    if !trusts(&peer) {
        return Some(peer);
    }
    let mut hops = Vec::new();
    for value in call.headers.get_all(&FORWARDED_FOR) {
        for hop in value.to_str().ok()?.split(',') {
            hops.push(hop.trim().parse::<IpAddr>().ok()?.to_canonical());
        }
    }
    hops.into_iter().rev().find(|hop| !trusts(hop))
}

/// A network written with v4-mapped addresses is the IPv4 network: sources are compared in that form.
#[must_use]
pub fn canonical(net: IpNet) -> IpNet {
    let IpNet::V6(mapped) = net else { return net };
    mapped
        .network()
        .to_ipv4_mapped()
        .zip(mapped.prefix_len().checked_sub(96))
        .and_then(|(address, length)| IpNet::new(IpAddr::V4(address), length).ok())
        .unwrap_or(net)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use http::{HeaderValue, Request};
    use proptest::prelude::*;

    use super::*;
    use crate::body::Body;
    use crate::call::{Connection, Record, RequestId};
    use crate::clock::Random;

    fn call(peer: IpAddr, lines: &[Vec<u8>]) -> Box<Call> {
        let mut request = Request::new(Body::empty());
        request.extensions_mut().insert(Connection {
            peer: SocketAddr::new(peer, 4711),
            tls: false,
            ambiguous: false,
            late: false,
            standing: std::sync::Arc::default(),
            undecided: None,
        });
        for line in lines {
            let value = HeaderValue::from_bytes(line).unwrap();
            request.headers_mut().append(FORWARDED_FOR, value);
        }
        let id = RequestId::of(request.headers(), &Random::system());
        Call::new(request, id, Record::default())
    }

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts
            .iter()
            .map(|text| canonical(text.parse().unwrap()))
            .collect()
    }

    /// Proxies of ours; everything else is not.
    fn trusted() -> Vec<IpNet> {
        nets(&["192.0.2.0/24", "2001:db8:aa::/48"])
    }

    fn address() -> impl Strategy<Value = (IpAddr, bool)> {
        prop_oneof![
            any::<u8>().prop_map(|last| (IpAddr::from([192, 0, 2, last]), true)),
            any::<u16>()
                .prop_map(|last| (IpAddr::from([0x2001, 0xdb8, 0xaa, 0, 0, 0, 0, last]), true)),
            any::<u8>().prop_map(|last| (IpAddr::from([198, 51, 100, last]), false)),
            any::<u16>()
                .prop_map(|last| (IpAddr::from([0x2001, 0xdb8, 0xbb, 0, 0, 0, 0, last]), false)),
        ]
    }

    /// As some proxies write it.
    fn written(address: IpAddr, mapped: bool) -> String {
        match address {
            IpAddr::V4(v4) if mapped => v4.to_ipv6_mapped().to_string(),
            other => other.to_string(),
        }
    }

    proptest! {
        #[test]
        fn rule_19_a_stranger_s_header_is_never_believed(
            (peer, ours) in address(),
            mapped: bool,
            lines in prop::collection::vec("[ -~]{0,40}", 0..4),
        ) {
            prop_assume!(!ours);
            let peer: IpAddr = written(peer, mapped).parse().unwrap();
            let lines: Vec<Vec<u8>> = lines.into_iter().map(String::into_bytes).collect();
            prop_assert_eq!(of(&call(peer, &lines), &trusted()), Some(peer.to_canonical()));
        }

        #[test]
        fn rule_19_behind_our_proxies_the_right_most_untrusted_hop_counts(
            hops in prop::collection::vec((address(), any::<bool>(), any::<bool>()), 0..8),
            forged in "[ -~]{0,40}",
            forge: bool,
        ) {
            // The last untrusted hop, if any; what stands left of it cannot matter, unless it cannot be read.
            let wanted = hops.iter().rev().find(|((_, ours), ..)| !ours).map(|((hop, _), ..)| *hop);
            let mut lines = vec![Vec::new()];
            for ((hop, _), mapped, new_line) in &hops {
                if *new_line {
                    lines.push(Vec::new());
                }
                let line = lines.last_mut().unwrap();
                if !line.is_empty() {
                    line.extend(b", ");
                }
                line.extend(written(*hop, *mapped).bytes());
            }
            lines.retain(|line| !line.is_empty());
            let peer = IpAddr::from([192, 0, 2, 1]);
            prop_assert_eq!(of(&call(peer, &lines), &trusted()), wanted);
            if forge && forged.split(',').any(|hop| hop.trim().parse::<IpAddr>().is_err()) {
                lines.insert(0, forged.into_bytes());
                prop_assert_eq!(of(&call(peer, &lines), &trusted()), None);
            }
        }
    }

    #[test]
    fn rule_19_what_is_missing_or_odd_behind_a_proxy_is_unknown() {
        let peer = IpAddr::from([192, 0, 2, 1]);
        for odd in [
            "",
            "unknown",
            "198.51.100.7:443",
            "[2001:db8::1]",
            "198.51.100.7,,198.51.100.8",
            "198.51.100.07",
            "localhost",
            "1",
        ] {
            assert_eq!(of(&call(peer, &[odd.into()]), &trusted()), None, "{odd}");
        }
        assert_eq!(of(&call(peer, &[]), &trusted()), None);
        assert_eq!(of(&call(peer, &[vec![0xe4]]), &trusted()), None);
        assert_eq!(of(&call(peer, &[b"192.0.2.9".to_vec()]), &trusted()), None);
    }

    #[test]
    fn rule_19_v4_mapped_addresses_and_networks_are_the_v4_ones() {
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
        let hops = [b"::ffff:198.51.100.7".to_vec()];
        let wanted = Some(IpAddr::from([198, 51, 100, 7]));
        for trusted in [
            nets(&["192.0.2.0/24"]),
            nets(&["::ffff:192.0.2.0/120"]),
            nets(&["::ffff:192.0.2.1/128"]),
        ] {
            assert_eq!(of(&call(mapped, &hops), &trusted), wanted);
        }
        assert_eq!(
            nets(&["2001:db8::/32", "10.0.0.0/8"]),
            [
                "2001:db8::/32".parse().unwrap(),
                "10.0.0.0/8".parse::<IpNet>().unwrap()
            ]
        );
    }
}
