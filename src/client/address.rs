//! Which addresses may be reached how.
//!
//! In: a host name or an IP address. Out: whether plain http may go there, whether the proxy has to stay out of it, and whether the
//! address is public. Refuses by default: whatever is not known to be public is not (security rules 17, 21; IANA special-purpose
//! address registries, RFC 6890).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Azure's instance metadata service: plain http by design, link-local, never through a proxy (facts B1.6).
pub const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

/// The machine's own name for itself. A name all the same: it resolves to whatever the machine's resolver says.
pub const LOCALHOST: &str = "localhost";

/// The address a host is written as, brackets removed; `None` for a name.
#[must_use]
pub fn literal(host: &str) -> Option<IpAddr> {
    let bare = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(host);
    bare.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

/// Whether plain http may go to this host: a loopback *literal* (`localhost` is a name and can resolve to anything), the metadata
/// service, or a host listed in `insecure_hosts`, whole name only.
#[must_use]
pub fn plain_http_allowed(host: &str, insecure_hosts: &[String]) -> bool {
    literal(host).is_some_and(|ip| ip.is_loopback() || ip == METADATA)
        || insecure_hosts.iter().any(|one| same_host(one, host))
}

/// Whether plain http may go to this host because the platform names it as its identity endpoint: a literal address that is not
/// public (App Service has had 127.0.0.1, 169.254.x.y and 172.16.x.y), or `localhost` (Container Apps, Azure Arc), which then has to
/// resolve to loopback (facts B1.6).
#[must_use]
pub fn of_the_platform(host: &str) -> bool {
    literal(host).map_or_else(
        || same_host(host, LOCALHOST),
        |ip| !(is_public(ip) || ip.is_unspecified() || ip.is_multicast()),
    )
}

/// Whether the proxy must not be asked for this host: loopback, by literal or name, and the metadata service.
#[must_use]
pub fn never_proxied(host: &str) -> bool {
    literal(host).map_or_else(
        || same_host(host, LOCALHOST) || is_below(host, LOCALHOST),
        |ip| ip.is_loopback() || ip == METADATA,
    )
}

/// Whether two hosts are the same, whatever their case, brackets and final dot.
fn same_host(one: &str, other: &str) -> bool {
    match (literal(one), literal(other)) {
        (Some(one), Some(other)) => one == other,
        (None, None) => one
            .trim_end_matches('.')
            .eq_ignore_ascii_case(other.trim_end_matches('.')),
        _ => false,
    }
}

/// Whether `host` ends in `.parent`.
fn is_below(host: &str, parent: &str) -> bool {
    host.trim_end_matches('.')
        .to_ascii_lowercase()
        .strip_suffix(parent)
        .is_some_and(|rest| rest.ends_with('.'))
}

/// Whether an address is on the public internet. Addresses that embed an IPv4 address (v4-mapped, NAT64, 6to4) are checked by it.
#[must_use]
pub fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => public_v4(ip),
        IpAddr::V6(ip) => public_v6(ip),
    }
}

fn public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    !(a == 0
        || a >= 224
        || ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_documentation()
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (18..20).contains(&b)))
}

fn public_v6(ip: Ipv6Addr) -> bool {
    let embedded = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match ip.segments() {
        // NAT64 (RFC 6052) and 6to4 (RFC 3056).
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => embedded(high, low),
        // Teredo, benchmarking, ORCHID: IETF protocol assignments.
        [0x2001, second, ..] if second < 0x0200 => false,
        // Documentation.
        [0x2001, 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => false,
        // Global unicast is 2000::/3; all else is loopback, local, multicast or reserved.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::{is_public, never_proxied, of_the_platform, plain_http_allowed};

    #[test]
    fn private_local_and_embedded_addresses_are_not_public() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "2002:a00:1::",
            "2001:0:1::1",
            "2001:db8::1",
            "3fff::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        for address in [
            "1.1.1.1",
            "20.190.151.7",
            "100.63.0.1",
            "100.128.0.1",
            "172.32.0.1",
            "198.20.0.1",
            "2603:1026::1",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
        ] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn plain_http_is_for_loopback_literals_the_metadata_service_and_listed_hosts() {
        let listed = ["Erp.Plant".to_owned(), "10.1.2.3".to_owned()];
        for host in [
            "127.0.0.1",
            "127.1.2.3",
            "[::1]",
            "169.254.169.254",
            "erp.plant",
            "ERP.plant.",
            "10.1.2.3",
        ] {
            assert!(plain_http_allowed(host, &listed), "{host}");
        }
        for host in [
            "localhost",
            "127.0.0.1.example",
            "x.erp.plant",
            "plant",
            "erp.plant.example",
            "10.1.2.4",
            "169.254.169.253",
            "0x7f.1",
            "2130706433",
        ] {
            assert!(!plain_http_allowed(host, &listed), "{host}");
        }
    }

    #[test]
    fn the_platform_is_at_an_address_that_is_not_public() {
        for host in [
            "127.0.0.1",
            "[::1]",
            "169.254.169.254",
            "169.254.129.2",
            "172.16.2.6",
            "[fe80::1]",
            "localhost",
            "LOCALHOST.",
        ] {
            assert!(of_the_platform(host), "{host}");
        }
        for host in [
            "a.localhost",
            "localhost.example",
            "metadata.google.internal",
            "0.0.0.0",
            "224.0.0.1",
            "8.8.8.8",
            "20.190.151.7",
        ] {
            assert!(!of_the_platform(host), "{host}");
        }
    }

    #[test]
    fn loopback_and_the_metadata_service_are_never_proxied() {
        for host in [
            "localhost",
            "LOCALHOST.",
            "a.localhost",
            "127.0.0.1",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "169.254.169.254",
        ] {
            assert!(never_proxied(host), "{host}");
        }
        for host in [
            "notlocalhost",
            "localhost.example",
            "10.0.0.1",
            "login.example",
        ] {
            assert!(!never_proxied(host), "{host}");
        }
    }
}
