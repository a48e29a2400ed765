//! SSRF guard: which addresses may be reached. Those of the public internet, and those the operator
//! allows.
//!
//! The addresses of a name are checked where the connection is made, so a name that resolves
//! differently the second time (DNS rebinding) gains nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, LazyLock};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// The host is in a network that requests must not reach.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{host}' is at {address}, which is no public address: allow its network with \
     WEBHOOK_ALLOWED_NETWORKS, or name another host"
)]
pub struct Forbidden {
    pub host: String,
    pub address: IpAddr,
}

/// IPv4 networks that are not of the public internet: IANA's special-purpose registry (RFC 6890) as
/// of November 2026, and multicast. Networks that it marks as reachable but that no receiver uses,
/// for example anycast for DNS, are excluded too.
static SPECIAL_V4: LazyLock<Vec<Ipv4Net>> = LazyLock::new(|| {
    nets(&[
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",
    ])
});
/// Cloud services for the machines inside the cloud, at addresses that look public, for example
/// metadata services that return credentials. Those of other clouds are link-local or private. As
/// of November 2026: Azure's wire server, Equinix Metal's metadata, IBM's services.
static CLOUDS_V4: LazyLock<Vec<Ipv4Net>> = LazyLock::new(|| {
    nets(&[
        "168.63.129.16/32",
        "192.80.8.124/32",
        "161.26.0.0/16",
        "166.8.0.0/14",
    ])
});
/// The allocated part of IPv6, and the networks in it that are not of the public internet.
static GLOBAL_V6: LazyLock<Vec<Ipv6Net>> = LazyLock::new(|| nets(&["2000::/3"]));
static SPECIAL_V6: LazyLock<Vec<Ipv6Net>> = LazyLock::new(|| {
    nets(&[
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",
        "2620:4f:8000::/48",
        "3fff::/20",
    ])
});
/// IPv4 addresses embedded in IPv6 for NAT64 (RFC 6052).
static NAT64: LazyLock<Vec<Ipv6Net>> = LazyLock::new(|| nets(&["64:ff9b::/96"]));

fn nets<T: std::str::FromStr>(texts: &[&str]) -> Vec<T> {
    let parsed = texts.iter().map(|text| text.parse().ok());
    parsed.map(|net| net.expect("a network")).collect()
}

/// Decides which addresses may be reached.
#[derive(Clone, Debug)]
pub struct Guard {
    allowed: Arc<[IpNet]>,
}

impl Guard {
    pub fn new(allowed: &[IpNet]) -> Self {
        Self {
            allowed: allowed.into(),
        }
    }

    pub fn allows(&self, address: IpAddr) -> bool {
        self.allowed.iter().any(|net| net.contains(&address)) || is_public(address)
    }

    /// Fails for an address that is not allowed.
    pub fn check(&self, host: &str, address: IpAddr) -> Result<(), Forbidden> {
        if self.allows(address) {
            return Ok(());
        }
        Err(Forbidden {
            host: host.to_owned(),
            address,
        })
    }
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => {
            if let Some(inner) = address.to_ipv4_mapped() {
                return is_public_v4(inner);
            }
            if NAT64.iter().any(|net| net.contains(&address)) {
                return is_public_v4(last_four(address));
            }
            GLOBAL_V6.iter().any(|net| net.contains(&address))
                && !SPECIAL_V6.iter().any(|net| net.contains(&address))
        }
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let mut closed = SPECIAL_V4.iter().chain(CLOUDS_V4.iter());
    !closed.any(|net| net.contains(&address))
}

fn last_four(address: Ipv6Addr) -> Ipv4Addr {
    let [.., a, b, c, d] = address.octets();
    Ipv4Addr::new(a, b, c, d)
}

/// DNS resolver that returns allowed addresses only.
impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found = tokio::net::lookup_host((host.as_str(), 0)).await?;
            let found: Vec<SocketAddr> = found.collect();
            let refused = found.iter().find(|it| !guard.allows(it.ip())).copied();
            let allowed: Vec<SocketAddr> = found
                .into_iter()
                .filter(|it| guard.allows(it.ip()))
                .collect();
            match refused {
                Some(refused) if allowed.is_empty() => Err(Forbidden {
                    host,
                    address: refused.ip(),
                }
                .into()),
                _ => Ok(Box::new(allowed.into_iter()) as Addrs),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_that_resolves_to_a_private_address_is_refused() {
        let guard = Guard::new(&[]);
        let resolved = guard.resolve("localhost".parse().unwrap()).await;
        let refused = resolved.err().unwrap();
        assert!(refused.downcast_ref::<Forbidden>().is_some(), "{refused}");
        let allowing = Guard::new(&["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]);
        let resolved = allowing.resolve("localhost".parse().unwrap()).await;
        assert!(resolved.unwrap().next().is_some());
    }

    #[test]
    fn only_public_addresses_may_be_reached() {
        let guard = Guard::new(&[]);
        for public in [
            "1.1.1.1",
            "93.184.215.14",
            "172.15.255.255",
            "172.32.0.1",
            "100.128.0.1",
            "2606:4700:4700::1111",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
            "168.63.129.15",
            "168.63.129.17",
            "2620:fe::fe",
        ] {
            assert!(guard.allows(public.parse().unwrap()), "{public}");
        }
        for inner in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.0.1",
            "169.254.169.254",
            "172.31.0.1",
            "192.0.0.8",
            "192.168.1.1",
            "198.19.0.1",
            "203.0.113.9",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "2002:7f00:1::",
            // Metadata of clouds: AWS, GCP, Azure, Alibaba, Oracle, ECS, Equinix, IBM.
            "169.254.169.254",
            "169.254.170.2",
            "fd00:ec2::254",
            "fd20:ce::254",
            "168.63.129.16",
            "100.100.100.200",
            "192.0.0.192",
            "192.80.8.124",
            "161.26.0.10",
            "166.9.0.1",
            "::ffff:168.63.129.16",
            "64:ff9b::a83f:8110",
            // Other special-purpose networks of IANA.
            "64:ff9b:1::1",
            "100::1",
            "100:0:0:1::1",
            "5f00::1",
            "3fff::1",
            "fec0::1",
            "2620:4f:8000::1",
            "192.31.196.1",
            "192.52.193.1",
            "192.88.99.2",
            "192.175.48.1",
            "240.0.0.1",
        ] {
            assert!(!guard.allows(inner.parse().unwrap()), "{inner}");
        }
        let allowing = Guard::new(&["10.1.0.0/16".parse().unwrap()]);
        assert!(allowing.allows("10.1.2.3".parse().unwrap()));
        assert!(!allowing.allows("10.2.2.3".parse().unwrap()));
    }
}
