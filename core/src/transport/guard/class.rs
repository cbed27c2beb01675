//! The class of an address, however it is written.
//!
//! The networks are those of the IANA special-purpose registries (RFC 6890 and its updates). An IPv6 address that carries an
//! IPv4 address inside can lead to that one, so it is judged as that one, too.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// A kind of address that is not just any machine of the internet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Returns credentials of the machine to any client.
    Metadata,
    Loopback,
    Private,
    LinkLocal,
    /// For documentation, benchmarks, multicast, or nothing yet.
    Reserved,
}

impl Class {
    /// The rule's name in errors.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Metadata => "cloud metadata",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::LinkLocal => "link-local",
            Self::Reserved => "reserved",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8, bits: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), bits)
}

const fn v6(a: u16, b: u16, c: u16, bits: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), bits)
}

/// The first that fits counts.
const NETWORKS_V4: [(Ipv4Net, Class); 24] = [
    // Of nearly every provider; of containers and pods on AWS; Azure's wire server; Alibaba; Oracle's classic form; Scaleway; Tencent.
    (v4(169, 254, 169, 254, 32), Class::Metadata),
    (v4(169, 254, 170, 2, 32), Class::Metadata),
    (v4(169, 254, 170, 23, 32), Class::Metadata),
    (v4(168, 63, 129, 16, 32), Class::Metadata),
    (v4(100, 100, 100, 200, 32), Class::Metadata),
    (v4(192, 0, 0, 192, 32), Class::Metadata),
    (v4(169, 254, 42, 42, 32), Class::Metadata),
    (v4(169, 254, 0, 23, 32), Class::Metadata),
    (v4(127, 0, 0, 0, 8), Class::Loopback),
    // "This network": a connection to it ends on this machine.
    (v4(0, 0, 0, 0, 8), Class::Loopback),
    (v4(10, 0, 0, 0, 8), Class::Private),
    (v4(172, 16, 0, 0, 12), Class::Private),
    (v4(192, 168, 0, 0, 16), Class::Private),
    (v4(100, 64, 0, 0, 10), Class::Private),
    (v4(169, 254, 0, 0, 16), Class::LinkLocal),
    (v4(192, 0, 0, 0, 24), Class::Reserved),
    (v4(192, 0, 2, 0, 24), Class::Reserved),
    (v4(192, 88, 99, 0, 24), Class::Reserved),
    (v4(198, 18, 0, 0, 15), Class::Reserved),
    (v4(198, 51, 100, 0, 24), Class::Reserved),
    (v4(203, 0, 113, 0, 24), Class::Reserved),
    (v4(224, 0, 0, 0, 4), Class::Reserved),
    (v4(240, 0, 0, 0, 4), Class::Reserved),
    (v4(255, 255, 255, 255, 32), Class::Reserved),
];

/// The first that fits counts.
const NETWORKS_V6: [(Ipv6Net, Class); 16] = [
    // AWS, its pods, Google, and Scaleway.
    (Ipv6Net::new_assert(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), 128), Class::Metadata),
    (Ipv6Net::new_assert(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23), 128), Class::Metadata),
    (Ipv6Net::new_assert(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254), 128), Class::Metadata),
    (Ipv6Net::new_assert(Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42), 128), Class::Metadata),
    (Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128), Class::Loopback),
    (Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 128), Class::Loopback),
    (v6(0xfc00, 0, 0, 7), Class::Private),
    // NAT64 with a prefix of the network's own: where it leads, only that network knows.
    (v6(0x64, 0xff9b, 1, 48), Class::Private),
    (v6(0xfe80, 0, 0, 10), Class::LinkLocal),
    (v6(0xfec0, 0, 0, 10), Class::Private),
    // Teredo hides an IPv4 address behind a relay; the rest of this block is for protocols.
    (v6(0x2001, 0, 0, 23), Class::Reserved),
    (v6(0x2001, 0xdb8, 0, 32), Class::Reserved),
    (v6(0x3fff, 0, 0, 20), Class::Reserved),
    (v6(0x100, 0, 0, 64), Class::Reserved),
    (v6(0x5f00, 0, 0, 16), Class::Reserved),
    (v6(0xff00, 0, 0, 8), Class::Reserved),
];

/// Of IPv6, only this block has been given to anybody.
const GLOBAL_V6: Ipv6Net = v6(0x2000, 0, 0, 3);

/// The class of an address; `None` for any machine of the internet. An address that leads to another is judged as both: as where it
/// leads, and as where the way to there begins.
pub(super) fn class(address: IpAddr) -> Option<Class> {
    let v6 = match address {
        IpAddr::V4(address) => return class_v4(address),
        IpAddr::V6(address) => address,
    };
    match inside(v6) {
        Inside::Nothing => class_v6(v6),
        Inside::Same(v4) => class_v4(v4),
        Inside::Beyond(all) => {
            let beyond: Vec<_> = all.into_iter().flatten().filter_map(class_v4).collect();
            let metadata = beyond.iter().find(|class| **class == Class::Metadata).copied();
            metadata.or_else(|| class_v6(v6)).or_else(|| beyond.first().copied())
        }
    }
}

fn class_v4(address: Ipv4Addr) -> Option<Class> {
    NETWORKS_V4.iter().find(|(net, _)| net.contains(&address)).map(|(_, class)| *class)
}

fn class_v6(address: Ipv6Addr) -> Option<Class> {
    let named = NETWORKS_V6.iter().find(|(net, _)| net.contains(&address)).map(|(_, class)| *class);
    named.or((!GLOBAL_V6.contains(&address)).then_some(Class::Reserved))
}

/// The IPv4 address that an IPv6 address is another form of, where it is one; else the address itself.
pub(super) fn effective(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => match inside(v6) {
            Inside::Same(v4) => v4.into(),
            Inside::Nothing | Inside::Beyond(_) => address,
        },
        IpAddr::V4(_) => address,
    }
}

/// The IPv4 addresses inside an IPv6 address.
enum Inside {
    Nothing,
    /// It is nothing but another form of this one.
    Same(Ipv4Addr),
    /// It is an address of its own, from which a translator or a tunnel can lead on to these.
    Beyond([Option<Ipv4Addr>; 2]),
}

fn inside(v6: Ipv6Addr) -> Inside {
    let of = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match v6.segments() {
        // `::` and `::1` are themselves.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => Inside::Nothing,
        // IPv4-compatible (RFC 4291, deprecated), mapped (RFC 4291), translated (RFC 7915), NAT64 (RFC 6052).
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Inside::Same(of(high, low)),
        // NAT64 of the network's own (RFC 8215): the last 32 bits, or around the bits 64 to 71 (RFC 6052 section 2.2).
        [0x64, 0xff9b, 1, first, second, third, high, low] => {
            let around = of(first, ((second & 0xff) << 8) | (third >> 8));
            Inside::Beyond([Some(of(high, low)), Some(around)])
        }
        // 6to4 (RFC 3056).
        [0x2002, high, low, ..] => Inside::Beyond([Some(of(high, low)), None]),
        // Teredo (RFC 4380): its server, and the client behind it, whose bits are turned over.
        [0x2001, 0, server_high, server_low, _, _, high, low] => {
            Inside::Beyond([Some(of(!high, !low)), Some(of(server_high, server_low))])
        }
        // ISATAP (RFC 5214), in any network.
        [_, _, _, _, flags, 0x5efe, high, low] if flags & !0x0300 == 0 => {
            Inside::Beyond([Some(of(high, low)), None])
        }
        _ => Inside::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<Class> {
        class(text.parse().unwrap())
    }

    /// B-20: every form of an address is judged by where it leads.
    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn an_address_is_judged_by_where_it_leads() {
        let expected = [
            (
                Class::Metadata,
                &[
                    "169.254.169.254",
                    "::ffff:169.254.169.254",
                    "64:ff9b::a9fe:a9fe",
                    "fd00:ec2::254",
                    "168.63.129.16",
                    "100.100.100.200",
                    "2002:a9fe:a9fe::1",
                    "::169.254.169.254",
                    "::ffff:0:169.254.169.254",
                    "64:ff9b:1::a9fe:a9fe",
                    "64:ff9b:1:a9fe:a9:fe00::",
                    "fe80::5efe:169.254.169.254",
                    "fd00::200:5efe:169.254.169.254",
                    "2001:0:101:101:0:0:5601:5601",
                    "2001:0:a9fe:a9fe::fefe:fefe",
                    "fd20:ce::254",
                    "fd00:42::42",
                    "169.254.42.42",
                ][..],
            ),
            (
                Class::Loopback,
                &[
                    "127.0.0.1",
                    "127.255.255.255",
                    "0.0.0.0",
                    "0.1.2.3",
                    "::1",
                    "::",
                    "::ffff:127.0.0.1",
                    "::127.0.0.1",
                    "::ffff:0:127.0.0.1",
                    "64:ff9b::7f00:1",
                    "2002:7f00:1::",
                    "::0.0.0.0",
                    "::2",
                    "::ffff:0.0.0.0",
                    "64:ff9b::",
                    "2606:4700::5efe:127.0.0.1",
                    "2606:4700::300:5efe:127.0.0.1",
                ],
            ),
            (
                Class::Private,
                &[
                    "10.0.0.1",
                    "172.16.0.1",
                    "172.31.255.255",
                    "192.168.1.1",
                    "100.64.0.1",
                    "fc00::1",
                    "fdff::1",
                    "::ffff:10.0.0.1",
                    "64:ff9b::a00:1",
                    "64:ff9b:1::1",
                    "fec0::1",
                    "2001:4860::5efe:10.0.0.1",
                    "2001:4860::200:5efe:192.168.0.1",
                    "2002:c0a8:101::1",
                    "64:ff9b:1::808:808",
                    // The way to a machine of the internet begins inside.
                    "fd12:3456::5efe:8.8.8.8",
                    "fc00::200:5efe:1.1.1.1",
                ],
            ),
            (
                Class::LinkLocal,
                &["169.254.1.1", "fe80::1", "febf::1", "fe80::5efe:8.8.8.8", "2002:a9fe:101::1"],
            ),
            (
                Class::Reserved,
                &[
                    "192.0.2.1",
                    "198.18.0.1",
                    "203.0.113.1",
                    "224.0.0.1",
                    "255.255.255.255",
                    "240.0.0.1",
                    "2001::1",
                    "2001:0:808:808::f7f7:f7f7",
                    "64:ff9b:2::808:808",
                    "64:ff9b::1:808:808",
                    "2002:e000:1::1",
                    "2001:db8::5efe:8.8.8.8",
                    "2001:db8::1",
                    "ff02::1",
                    "4000::1",
                    "100::1",
                ],
            ),
        ];
        for (class, addresses) in expected {
            for address in addresses {
                assert_eq!(of(address), Some(class), "{address}");
            }
        }
        for public in [
            "1.1.1.1",
            "172.32.0.1",
            "100.128.0.1",
            "169.253.1.1",
            "2606:4700::1",
            "64:ff9b::101:101",
            "::ffff:8.8.8.8",
            "::ffff:0:8.8.8.8",
            "::8.8.8.8",
            "2002:808:808::1",
            "2606:4700::5efe:8.8.8.8",
            "2606:4700::100:5eff:10.0.0.1",
        ] {
            assert_eq!(of(public), None, "{public}");
        }
    }
}
