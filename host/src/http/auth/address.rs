//! The network address of the client.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::extract::ConnectInfo;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use ipnet::IpNet;

use crate::app::App;

/// The address of the client: that of the connection or, behind a trusted proxy, the last address in
/// `X-Forwarded-For` that is not a trusted proxy's. `None` if the connection's address is unknown.
pub fn client_address(app: &App, parts: &Parts) -> Option<IpAddr> {
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>()?.0.ip();
    let trusted = &app.config.access.trusted_proxies;
    Some(behind_proxies(peer.to_canonical(), &parts.headers, trusted))
}

fn behind_proxies(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_proxy = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut address = peer;
    // Each proxy appends the address it saw. Anything left of the first untrusted hop can be forged.
    let hops = headers.get_all("x-forwarded-for").iter();
    let hops: Vec<&str> = hops
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .collect();
    for hop in hops.iter().rev() {
        if !is_proxy(&address) {
            break;
        }
        match parse(hop.trim()) {
            Some(next) => address = next,
            None => break,
        }
    }
    address
}

/// An address, with or without a port.
fn parse(text: &str) -> Option<IpAddr> {
    let plain = text.trim_start_matches('[').trim_end_matches(']');
    let address: Option<IpAddr> = plain.parse().ok();
    let address = address.or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()));
    address.map(|address| address.to_canonical())
}

/// The key under which requests of an address are counted. One client may use a whole IPv6 /64.
pub fn counted(address: Option<IpAddr>) -> String {
    match address {
        Some(IpAddr::V4(address)) => address.to_string(),
        Some(IpAddr::V6(address)) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{}/64", Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        None => "unknown".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(peer: &str, forwarded: &[&str], trusted: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        let trusted: Vec<IpNet> = trusted.iter().map(|net| net.parse().unwrap()).collect();
        behind_proxies(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn the_header_counts_only_as_far_as_proxies_are_trusted() {
        let proxies = ["10.0.0.0/8", "fd00::/8"];
        assert_eq!(seen("203.0.113.9", &["1.2.3.4"], &[]), "203.0.113.9");
        assert_eq!(seen("203.0.113.9", &["1.2.3.4"], &proxies), "203.0.113.9");
        assert_eq!(seen("10.0.0.1", &["1.2.3.4"], &proxies), "1.2.3.4");
        // Entries that the client itself sent are ignored.
        assert_eq!(seen("10.0.0.1", &["6.6.6.6, 1.2.3.4"], &proxies), "1.2.3.4");
        assert_eq!(
            seen("10.0.0.1", &["6.6.6.6", "1.2.3.4, 10.0.0.2"], &proxies),
            "1.2.3.4"
        );
        assert_eq!(
            seen("fd00::1", &["[2001:db8::7]:443"], &proxies),
            "2001:db8::7"
        );
        assert_eq!(seen("10.0.0.1", &["nonsense"], &proxies), "10.0.0.1");
        assert_eq!(seen("10.0.0.1", &[], &proxies), "10.0.0.1");
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one() {
        let address = |text: &str| counted(Some(text.parse().unwrap()));
        assert_eq!(address("2001:db8:1:2:3::4"), address("2001:db8:1:2::9"));
        assert_ne!(address("2001:db8:1:2::4"), address("2001:db8:1:3::4"));
        assert_eq!(address("1.2.3.4"), "1.2.3.4");
    }
}
