//! No URL whose host is, or resolves to, an address that is not global gets through; compared with a
//! second implementation.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use imagebatch::egress::address::{Networks, Reach, reach};
use imagebatch::egress::target::Rules;
use proptest::prelude::*;

use crate::net::args;
use crate::oracle::{inet_aton, is_global};

/// The rules of an installation without exceptions, and of one that allows a host.
static RULES: LazyLock<[Rules; 2]> =
    LazyLock::new(|| [Rules::new(&args(&[])), Rules::new(&args(&["--egress-allow-hosts=*.shop.internal"]))]);

fn v4() -> impl Strategy<Value = Ipv4Addr> {
    let first = prop_oneof![
        any::<u8>(),
        prop::sample::select(vec![0, 10, 100, 127, 168, 169, 172, 192, 198, 203, 224, 240, 255])
    ];
    let second = prop_oneof![
        any::<u8>(),
        prop::sample::select(vec![0, 15, 16, 18, 19, 31, 32, 51, 52, 63, 64, 88, 127, 128, 168, 175, 254])
    ];
    let third =
        prop_oneof![any::<u8>(), prop::sample::select(vec![0, 1, 2, 48, 99, 100, 113, 129, 169, 170, 193, 196])];
    (first, second, third, any::<u8>()).prop_map(|(a, b, c, d)| Ipv4Addr::new(a, b, c, d))
}

fn v6() -> impl Strategy<Value = Ipv6Addr> {
    let plain = any::<u128>().prop_map(Ipv6Addr::from);
    let prefixes = vec![
        [0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0xffff],
        [0, 0, 0, 0, 0xffff, 0],
        [0x64, 0xff9b, 0, 0, 0, 0],
        [0x64, 0xff9b, 1, 0, 0, 0],
        [0x2001, 0, 0, 0, 0, 0],
        [0x2a00, 0x1450, 0, 0, 0, 0x5efe],
        [0x2a00, 0x1450, 0, 0, 0x200, 0x5efe],
        [0xfe80, 0, 0, 0, 0, 0x5efe],
        [0x2606, 0x4700, 0, 0, 0, 0],
        [0xfc00, 0, 0, 0, 0, 0],
        [0xfdff, 0, 0, 0, 0, 0],
        [0x2001, 0xdb8, 0, 0, 0, 0],
        [0x3fff, 0xfff, 0, 0, 0, 0],
        [0x2002, 0x0a00, 1, 0, 0, 0],
        [0xff02, 0, 0, 0, 0, 0],
        [0x5f00, 0, 0, 0, 0, 0],
        [0x100, 0, 0, 0, 0, 0],
        [0x2620, 0x4f, 0x8000, 0, 0, 0],
        [0x2001, 0x1ff, 0, 0, 0, 0],
        [0x2001, 0x200, 0, 0, 0, 0],
    ];
    let carrying = (prop::sample::select(prefixes), v4()).prop_map(|([a, b, c, d, e, f], inner)| {
        let low = u32::from(inner);
        Ipv6Addr::new(a, b, c, d, e, f, (low >> 16) as u16, low as u16)
    });
    prop_oneof![plain, carrying]
}

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![v4().prop_map(IpAddr::V4), v6().prop_map(IpAddr::V6)]
}

/// An IPv4 address as `inet_aton` allows it: some of the parts joined, each in one of three bases.
fn spelling() -> impl Strategy<Value = String> {
    (v4(), 1..=4_usize, prop::array::uniform4(0..4_u8), any::<bool>()).prop_map(|(address, parts, bases, dot)| {
        let bytes = address.octets();
        let mut values: Vec<u64> = bytes[..parts - 1].iter().map(|it| u64::from(*it)).collect();
        values.push(bytes[parts - 1..].iter().fold(0, |value, byte| value << 8 | u64::from(*byte)));
        let written = values.iter().zip(bases).map(|(value, base)| match base {
            0 => format!("{value}"),
            1 => format!("0{value:o}"),
            2 => format!("0x{value:x}"),
            _ => format!("0X000{value:X}"),
        });
        written.collect::<Vec<_>>().join(".") + if dot { "." } else { "" }
    })
}

fn host() -> impl Strategy<Value = String> {
    prop_oneof![
        spelling(),
        v6().prop_map(|it| format!("[{it}]")),
        v6().prop_map(|it| format!("[{}]", it.segments().map(|part| format!("{part:04X}")).join(":"))),
        v4().prop_map(|it| it.to_string().replace('.', "。")),
        v4().prop_map(|it| it.to_string().chars().map(full_width).collect()),
        v4().prop_map(|it| it.to_string().bytes().map(percent_encoded).collect()),
        "[0-9a-fxX.:%@\\[\\]\\\\-]{1,24}",
    ]
}

fn percent_encoded(byte: u8) -> String {
    format!("%{byte:02x}")
}

fn full_width(character: char) -> char {
    character.to_digit(10).and_then(|digit| char::from_u32('０' as u32 + digit)).unwrap_or(character)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn what_is_permitted_is_global(address in address()) {
        if Networks::default().permits(address) {
            prop_assert!(is_global(address), "{address}");
        }
        prop_assert_eq!(Networks::default().permits(address), reach(address) == Reach::Public);
    }

    #[test]
    fn global_ipv4_is_permitted(address in v4()) {
        prop_assert_eq!(Networks::default().permits(address.into()), is_global(address.into()), "{}", address);
    }

    #[test]
    fn a_name_is_worth_its_addresses(address in address()) {
        let rules = &RULES[1];
        prop_assert_eq!(rules.permits("shop.test", address), Networks::default().permits(address));
        if rules.permits("images.shop.internal", address) && !is_global(address) {
            prop_assert_eq!(reach(address), Reach::Private, "{}", address);
        }
    }

    #[test]
    fn no_spelling_of_a_host_gets_through(
        scheme in prop::sample::select(vec!["http://", "https://", "HTTP:", "http:/", "http:///", "http:\\\\", ""]),
        before in prop::sample::select(vec!["", "", "", "user@", "public.test@", "public.test\\@", "public.test#@"]),
        host in host(),
        behind in prop::sample::select(vec!["/x.jpg", ":80/", ":443", "", "?x", "#x", "\\x", "/@public.test"]),
    ) {
        if let Ok(url) = RULES[0].target(&format!("{scheme}{before}{host}{behind}")) {
            let host = url.host_str().expect("http has a host");
            if let Some(address) = inet_aton(host) {
                prop_assert!(is_global(address.into()), "{url}");
            }
            if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
                prop_assert!(is_global(address), "{url}");
            }
            // What the HTTP client reads out of the URL is the same host.
            let uri: http::Uri = url.as_str().parse().expect("the client reads it");
            prop_assert_eq!(uri.host(), Some(host));
        }
    }

    #[test]
    fn every_spelling_of_an_address_is_read_as_that_address(spelling in spelling()) {
        let address = inet_aton(&spelling).expect("it is one");
        let refused = RULES[0].target(&format!("http://{spelling}/x.jpg")).is_err();
        prop_assert_eq!(refused, !is_global(address.into()), "{} is {}", spelling, address);
    }
}
