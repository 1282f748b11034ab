//! Where does a call really come from?
//!
//! In: the socket's other end, `X-Forwarded-For`, and whose word is believed. Out: one address, or nothing when that is not known. Only a
//! trusted proxy's header is read at all, from its right end: what is left of the first untrusted hop is the caller's own writing and
//! may be anything. A hop is an address, or as Azure Application Gateway writes it, an address and a port. A missing or all-trusted list, or
//! a hop among the trusted ones that cannot be read, says nothing, and nothing matches no network (security rule 19).

use std::net::{IpAddr, SocketAddr};

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
    let lines = call.headers.get_all(&FORWARDED_FOR).iter().rev();
    let hops = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    for written in hops {
        let hop = hop(written)?;
        if !trusts(&hop) {
            return Some(hop);
        }
    }
    None
}

/// A hop as proxies write it: `address`, `address:port`, `[address]`, `[address]:port`.
fn hop(written: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(written).ok()?.trim();
    let bracketed = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let address = match bracketed {
        Some(v6) => IpAddr::V6(v6.parse().ok()?),
        None => match text.parse() {
            Ok(address) => address,
            Err(_) => text.parse::<SocketAddr>().ok()?.ip(),
        },
    };
    Some(address.to_canonical())
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
    use http::{HeaderValue, Request};
    use proptest::prelude::*;

    use super::*;
    use crate::body::Body;
    use crate::call::{Connection, RequestId, RequestLog};
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
        Call::new(request, id, RequestLog::default())
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
    fn written(address: IpAddr, style: u8) -> String {
        let mapped = match address {
            IpAddr::V4(v4) if style % 2 == 1 => IpAddr::V6(v4.to_ipv6_mapped()),
            other => other,
        };
        match style / 2 {
            0 => mapped.to_string(),
            1 if mapped.is_ipv6() => format!("[{mapped}]"),
            _ => SocketAddr::new(mapped, 4711).to_string(),
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
            let peer: IpAddr = written(peer, u8::from(mapped)).parse().unwrap();
            let lines: Vec<Vec<u8>> = lines.into_iter().map(String::into_bytes).collect();
            prop_assert_eq!(of(&call(peer, &lines), &trusted()), Some(peer.to_canonical()));
        }

        #[test]
        fn rule_19_behind_our_proxies_the_right_most_untrusted_hop_counts(
            hops in prop::collection::vec((address(), 0_u8..6, any::<bool>()), 0..8),
            forged in prop::collection::vec(0x20_u8..=0xff, 0..40),
        ) {
            // The last untrusted hop, if any; what is left of it cannot matter.
            let wanted = hops.iter().rev().find(|((_, ours), ..)| !ours).map(|((hop, _), ..)| *hop);
            let mut lines = vec![Vec::new()];
            for ((hop, _), style, new_line) in &hops {
                if *new_line {
                    lines.push(Vec::new());
                }
                let line = lines.last_mut().unwrap();
                if !line.is_empty() {
                    line.extend(b", ");
                }
                line.extend(written(*hop, *style).bytes());
            }
            lines.retain(|line| !line.is_empty());
            let peer = IpAddr::from([192, 0, 2, 1]);
            prop_assert_eq!(of(&call(peer, &lines), &trusted()), wanted);
            let unreadable = forged.split(|byte| *byte == b',').next_back().is_none_or(|last| hop(last).is_none());
            lines.insert(0, forged.into_iter().filter(|byte| *byte != 0x7f).collect());
            if wanted.is_some() || unreadable {
                prop_assert_eq!(of(&call(peer, &lines), &trusted()), wanted);
            }
        }
    }

    #[test]
    fn rule_19_what_is_missing_or_odd_behind_a_proxy_is_unknown() {
        let peer = IpAddr::from([192, 0, 2, 1]);
        for odd in [
            "",
            "unknown",
            "198.51.100.7:",
            "198.51.100.7:x",
            "198.51.100.7:65536",
            "[198.51.100.7]",
            "[198.51.100.7]:443",
            "[2001:db8::1",
            "2001:db8::1]:443",
            "198.51.100.7,",
            "198.51.100.8,,192.0.2.7",
            "198.51.100.8,odd,192.0.2.7:443",
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
